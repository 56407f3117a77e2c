"""The model card of a sparse encoder of latent terms: the library's card, plus the terms and their BM25 scoring."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers.base.model_card import get_versions
from sentence_transformers.sparse_encoder.model_card import SparseEncoderModelCardData

from lexite.integrations.sentence_transformers.counterparts import obstacles
from lexite.integrations.sentence_transformers.origin import weights_changed
from lexite.integrations.sentence_transformers.sentence_as_token import SentenceAsToken
from lexite.sae.zipf import fit_zipf
from lexite.terms.card import hub_name, results_section
from lexite.terms.manifest import ModelDetails
from lexite.terms.vocabulary import Vocabulary
from lexite.version import __version__

TAGS = ("sentence-transformers", "sparse-encoder", "sparse", "latent-terms", "sparse-autoencoder", "bm25", "lexite")
EXAMPLES = (
    "animals near water",
    "Otters live along the river bank.",
    "The bank raised its interest rates again.",
    "Rain fell on the hills all night.",
)
"""A query and documents, for the snippets of a model that was not trained here."""
DENSE_FOLDER, VOCABULARY_FOLDER = "latent-terms-dense", "latent-terms-vocabulary"
_TERMS_SHOWN = 12
_LONGEST_EXAMPLE = 200  # characters
_LEAST_FOR_A_LINE = 3  # latents; through two points any line fits
_PACKAGES = {
    "python": "Python",
    "lexite": "lexite",
    "sentence_transformers": "Sentence Transformers",
    "transformers": "Transformers",
    "torch": "PyTorch",
    "accelerate": "Accelerate",
    "datasets": "Datasets",
    "tokenizers": "Tokenizers",
}
_POOLINGS = {"sum": "sum", "max": "maximum", "max_log1p": "maximum of log(1 + activation)"}


def _versions() -> dict[str, str]:
    known = {**get_versions(), "lexite": __version__}
    return {shown: str(known[name]) for name, shown in _PACKAGES.items() if name in known}


@dataclass
class LatentTermsModelCardData(SparseEncoderModelCardData):
    """The contents of the model card of a :class:`LatentTermsSparseEncoder`.

    The trainer and the evaluators of sentence-transformers fill it as for any sparse encoder: datasets, losses,
    hyperparameters, logs, metrics. The rest is read from the model when the card is written: the autoencoder, the pooling, the
    numbers of BM25, and the statistics, labels, recipe and results of the vocabulary that it came from. What was not measured
    is left out.

    Arguments are those of the library's ``SparseEncoderModelCardData``. ``license`` is by default the licence of the
    vocabulary, unless the model was trained further.
    """

    tags: list[str] = field(default_factory=lambda: list(TAGS))
    version: dict[str, str] = field(default_factory=_versions, init=False)
    template_path: Path = field(default=Path(__file__).parent / "model_card_template.md", init=False, repr=False)
    model_type: str = field(default="Latent Terms Sparse Encoder", init=False, repr=False)
    _before_training: Vocabulary | None = field(default=None, init=False, repr=False)

    @property
    def sparse_encoder(self) -> Any:
        """The model that the card describes, a :class:`LatentTermsSparseEncoder`."""
        return self.model

    @property
    def trained(self) -> bool:
        """Whether the trainer has begun to train the model since it was made or loaded."""
        return bool(self.all_hyperparameters)

    def register_model(self, model: Any) -> None:
        """Takes the model that the card describes."""
        super().register_model(model)
        self.model_type = "Latent Terms Sparse Encoder"

    def set_model_id(self, model_id: str) -> None:
        """Names the model in the snippets, also in a card that was loaded with the model."""
        super().set_model_id(model_id)
        text = self.sparse_encoder._model_card_text if self.sparse_encoder is not None else None
        if text:
            self.sparse_encoder._model_card_text = text.replace(f'("{self._snippet_default_model_id}"', f"({_quoted(model_id)}")

    def set_losses(self, losses: list[torch.nn.Module]) -> None:
        """Collects the citations of the losses. Each source is listed once, with the losses that cite it."""
        from lexite.integrations.sentence_transformers.losses.outputs import LATENT_TERMS

        super().set_losses(losses)
        self.citations = _by_source({"Latent Terms": LATENT_TERMS, **self.citations})
        if losses:
            self._before_training = self.sparse_encoder.extras.vocabulary

    def get_default_model_name(self) -> str:
        """The card's title."""
        base = self.base_model or _dense_model(self.sparse_encoder)[0]
        return f"{self.model_type} based on {base}" if base else self.model_type

    def run_usage_snippet(self) -> None:
        """Encodes and scores the texts of the snippets, so that the card can show what they print."""
        given: Sequence[Any] = self.usage_examples or ()
        texts = [" ".join(text.split())[:_LONGEST_EXAMPLE] for text in given if isinstance(text, str) and text.strip()]
        examples: Any = (texts if len(texts) > 1 else list(EXAMPLES))[: len(EXAMPLES)]
        self.usage_examples = examples
        self.similarities = None
        if self.generate_widget_examples:
            query, *documents = examples
            rows = self.sparse_encoder.encode_document(documents, show_progress_bar=False)
            scores = self.sparse_encoder.bm25(rows)(self.sparse_encoder.encode_query([query], show_progress_bar=False), rows)
            with torch._tensor_str.printoptions(precision=4, sci_mode=False):
                self.similarities = "\n".join(f"# {line}" for line in str(scores.cpu()).splitlines())

    def generate_usage_snippet(self) -> str:
        """The snippets, as Markdown; each Python block stands for itself."""
        name = _quoted(self.model_id or self._snippet_default_model_id)
        examples: Any = self.usage_examples or EXAMPLES
        query, *documents = examples
        parts = [
            "Install lexite, which brings Sentence Transformers along:",
            "```bash\npip install lexite\n```",
            "Encode queries and documents, and score them by BM25. Document frequencies and lengths are those of the documents "
            "that `bm25` is given, so give it the whole collection; `encode_csr` encodes one of any size.",
            _python(_scoring_snippet(name, query, documents, self.sparse_encoder.get_embedding_dimension(), self.similarities)),
            "It is also a `SparseEncoder` for everything else in Sentence Transformers, whose dot product knows no document "
            "frequencies:",
            _python(_library_snippet(name, query, documents)),
        ]
        if not obstacles(self.sparse_encoder):
            parts += [
                "For an index on disk that says which terms made a hit, make it a vocabulary of lexite:",
                _python(_lexite_snippet(name, query, documents)),
                "Its commands then index and search any folder of text:",
                f"```bash\nlexite index notes/ -o notes.lexite --vocabulary {VOCABULARY_FOLDER}\n"
                f"lexite search notes.lexite {_quoted(EXAMPLES[0])}\n```",
            ]
        return "\n\n".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """The values that the template is filled with."""
        if not self.base_model and (dense := _dense_model(self.sparse_encoder)[1]):
            self.base_model = dense
            self.base_model_revision = self.sparse_encoder.extras.origin["backbone"]["config"].get("revision")
        if not self.citations:
            self.set_losses([])
        values: dict[str, Any] = super().to_dict()
        return values

    def get_model_specific_metadata(self) -> dict[str, Any]:
        """What the card says beyond the card of any sparse encoder."""
        model, details = self.sparse_encoder, _details(self.sparse_encoder)
        vocabulary = _counted(model)
        changed = not self.trained and weights_changed(model)  # by another process, or without the trainer
        still = None if self.trained or changed else details  # details that still hold for the model
        return {
            **super().get_model_specific_metadata(),
            "license": self.license or (still.licence if still is not None else None),
            "trained": self.trained,
            "changed": changed,
            "dense_model": _dense_model(model),
            "of_whole_texts": _of_whole_texts(model),
            "architecture": architecture_rows(model),
            "scoring": scoring_rows(model),
            "vocabulary": vocabulary_rows(model),
            "vocabulary_source": vocabulary.source or "a sample of text" if vocabulary is not None else None,
            "measured_before_training": vocabulary is not None and vocabulary is self._before_training,
            "measured_before_change": vocabulary is not None and changed and model.extras.came_along("vocabulary"),
            "zipf": zipf_rows(vocabulary),
            "terms": term_rows(vocabulary),
            "details": details,
            "recipe": [(f"`{key}`", _cell(value)) for key, value in details.recipe.items()] if details is not None else [],
            "results": results_section(still.results) if still is not None and still.results else None,
        }


def architecture_rows(model: Any) -> list[tuple[str, str]]:
    """The steps from a text to its sparse vector, as names and values."""
    encoder, pooling = model.token_encoder, model.token_pooling
    rule = {"topk": "the largest (TopK)", "jumprelu": "those above their thresholds (JumpReLU)"}[encoder.variant]
    states = "text" if _of_whole_texts(model) else "token"
    rows = [
        ("window", f"{model.max_seq_length} tokens"),
        ("width of the dense states", f"{encoder.input_dim:,}"),
        ("latents, the dimensions of a vector", f"{encoder.hidden_dim:,}"),
        (f"latents kept per {states}", rule),
        (f"at most, per {states} of documents, of queries", f"{encoder.k}, {encoder.k_for('query')}"),
    ]
    if encoder.normalize != "none":
        rows.append(("states are first brought to one norm", f"`{encoder.normalize}`"))
    if encoder.rms_scale is not None:
        rows.append(("states are first multiplied by", f"{encoder.rms_scale:g}"))
    rows.append(("decoder", "yes" if encoder.has_decoder else "no, only what encoding needs"))
    if not _of_whole_texts(model):
        rows += [
            ("pooling over tokens", _POOLINGS[pooling.pooling_strategy]),
            ("special tokens, prompt tokens", f"{_pooled(pooling.include_special_tokens)}, {_pooled(pooling.include_prompt)}"),
        ]
    rows += [
        ("transform of weights, of documents, of queries", f"`{pooling.transform}`, `{pooling.transform_for('query')}`"),
        (
            "weights dropped below, of documents, of queries",
            f"{100 * pooling.floor:g}%, {100 * pooling.floor_for('query'):g}% of a text's largest",
        ),
    ]
    rows += [(f"prompt `{name}`", f"`{_cell(json.dumps(text))}`") for name, text in model.prompts.items() if text]
    if model.max_active_dims is not None:
        rows.append(("most active dimensions of a vector", f"{model.max_active_dims:,}"))
    return rows


def scoring_rows(model: Any) -> list[tuple[str, str]]:
    """The numbers of BM25 as names and values."""
    scoring = model.scoring
    rows = [
        ("k1", f"{scoring.k1:g}"),
        ("b", f"{scoring.b:g}"),
        ("idf", scoring.idf),
        ("power of the idf", f"{scoring.idf_power:g}"),
    ]
    return [*rows, ("delta", f"{scoring.delta:g}")] if scoring.idf == "bm25+" else rows


def vocabulary_rows(model: Any) -> list[tuple[str, str]]:
    """How the latents are used, as names and values; empty where nothing was measured or counted."""
    encoder, vocabulary = model.token_encoder, _counted(model)
    rows: list[tuple[str, str]] = []
    if vocabulary is not None:
        used = vocabulary.n_used
        dropped = " before small weights are dropped" if model.token_pooling.floor else ""
        per_document = vocabulary.document_counts.sum() / max(vocabulary.n_documents, 1)
        rows += [
            ("sample", f"{vocabulary.n_documents:,} documents, {vocabulary.n_tokens:,} tokens"),
            ("latents that fired", _share(used, vocabulary.n_latents)),
            ("latents that did not", _share(vocabulary.n_latents - used, vocabulary.n_latents)),
            (f"different terms per document{dropped}", f"{per_document:.1f}"),
        ]
        if used:
            frequency = vocabulary.document_frequency[vocabulary.token_counts > 0].mean()
            rows.append(("mean document frequency of those that fired", f"{100 * frequency:.2f}% of the documents"))
    if bool(encoder.tokens_since_active.any()):
        dead = _share(int(encoder.dead_latents().sum()), encoder.hidden_dim)
        rows += [
            (
                f"dead, not active in the last {encoder.dead_after_tokens:,} tokens of training",
                dead,
            ),
            ("longest that a latent has not been active", f"{int(encoder.tokens_since_active.max()):,} tokens"),
        ]
    return rows


def zipf_rows(vocabulary: Vocabulary | None) -> list[tuple[str, ...]]:
    """Fits of Zipf's law to the counts of a vocabulary: what, α, R², both for the middle, latents; see :func:`fit_zipf`."""
    if vocabulary is None:
        return []
    counts = {"documents that hold it": vocabulary.document_counts, "tokens it fires on": vocabulary.token_counts}
    fits = {name: fit_zipf(values) for name, values in counts.items()}
    return [
        (name, f"{fit.exponent:.2f}", f"{fit.r2:.3f}", f"{fit.exponent_middle:.2f}", f"{fit.r2_middle:.3f}", f"{fit.n_used:,}")
        for name, fit in fits.items()
        if fit.n_used >= _LEAST_FOR_A_LINE
    ]


def term_rows(vocabulary: Vocabulary | None) -> list[tuple[str, str, str]]:
    """Some terms from the most frequent to the rarest: number, label, share of documents."""
    if vocabulary is None:
        return []
    labelled = np.array([bool(words) for words in vocabulary.labels], dtype=bool)
    known = np.flatnonzero(labelled & (vocabulary.document_counts > 0))
    ranked = known[np.argsort(-vocabulary.document_counts[known], kind="stable")]
    chosen = ranked[np.unique(np.linspace(0, len(ranked) - 1, _TERMS_SHOWN).round().astype(int))] if len(ranked) else ranked
    frequency = vocabulary.document_frequency
    return [(str(term), _plain(vocabulary.label(int(term))), f"{100 * frequency[term]:.2f}%") for term in chosen]


def _scoring_snippet(name: str, query: str, documents: Sequence[str], width: int, scores: str | None) -> list[str]:
    lines = [
        "from lexite.integrations.sentence_transformers import LatentTermsSparseEncoder",
        "",
        f"model = LatentTermsSparseEncoder({name})",
        *_text_lines(query, documents),
        "query_embeddings = model.encode_query([query])",
        "document_embeddings = model.encode_document(documents)",
        "print(document_embeddings.shape)",
        f"# torch.Size([{len(documents)}, {width}])",
        "",
        "bm25 = model.bm25(document_embeddings)",
        "print(bm25(query_embeddings, document_embeddings))",
    ]
    return [*lines, scores] if scores else lines


def _library_snippet(name: str, query: str, documents: Sequence[str]) -> list[str]:
    return [
        "from sentence_transformers import SparseEncoder",
        "",
        f"model = SparseEncoder({name}, trust_remote_code=True)  # runs the modules of the installed lexite",
        *_text_lines(query, documents),
        "print(model.similarity(model.encode_query([query]), model.encode_document(documents)))",
    ]


def _lexite_snippet(name: str, query: str, documents: Sequence[str]) -> list[str]:
    return [
        "from lexite import BM25Index",
        "from lexite.integrations.sentence_transformers import from_sentence_transformers",
        "",
        "# The dense part is saved only where it is not, unchanged, the model it came from.",
        f'encoder = from_sentence_transformers({name}, dense_folder="{DENSE_FOLDER}", overwrite=True)',
        f'encoder.save_pretrained("{VOCABULARY_FOLDER}", overwrite=True)',
        "",
        *_text_lines(query, documents),
        "names = [str(number) for number in range(len(documents))]",
        "index = BM25Index.in_memory(encoder.encode_documents(documents), names, scoring=encoder.scoring)",
        "for hit in index.search(encoder.encode_queries([query]), top_k=3)[0]:",
        "    print(hit.rank, documents[hit.document], round(hit.score, 2))",
        "for term, label, weight in encoder.query_terms(query)[:5]:",
        "    print(term, label, round(weight, 2))",
    ]


def _text_lines(query: str, documents: Sequence[str]) -> list[str]:
    return [f"query = {_quoted(query)}", "documents = [", *(f"    {_quoted(text)}," for text in documents), "]"]


def _python(lines: Iterable[str]) -> str:
    return "```python\n" + "\n".join(lines) + "\n```"


def _quoted(text: str) -> str:
    """A literal of Python, in the quotes that the library's snippets have."""
    return json.dumps(text, ensure_ascii=False)


def _details(model: Any) -> ModelDetails | None:
    """The recorded details of the vocabulary that a model was made from; None for a model that was not."""
    details: ModelDetails = model.extras.details
    return details if model.extras.origin or details != ModelDetails() else None


def _counted(model: Any) -> Vocabulary | None:
    """The vocabulary, if its terms were counted; a vocabulary may have labels alone."""
    vocabulary: Vocabulary | None = model.extras.vocabulary
    return vocabulary if vocabulary is not None and vocabulary.n_documents else None


def _dense_model(model: Any) -> tuple[str | None, str | None]:
    """Name of the dense model under a vocabulary, None if unknown; and its name on the hub, None if it is not there."""
    origin = model.extras.origin.get("backbone", {})
    source = str(origin.get("config", {}).get("model") or "")
    return origin.get("name"), hub_name(source) if source and not Path(source).exists() else None


def _of_whole_texts(model: Any) -> bool:
    return any(isinstance(module, SentenceAsToken) for module in model)


def _by_source(citations: Mapping[str, str]) -> dict[str, str]:
    """Citations by the losses that name them; each BibTeX entry occurs once."""
    users: dict[str, list[str]] = {}
    for name, text in citations.items():
        for entry in re.split(r"\n+(?=@)", text.strip()):
            users.setdefault(entry, []).append(name)
    merged: dict[str, list[str]] = {}
    for entry, names in users.items():
        merged.setdefault(", ".join(names), []).append(entry)
    return {names: "\n\n".join(entries) for names, entries in merged.items()}


def _pooled(included: bool) -> str:
    return "pooled" if included else "left out"


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({100 * part / max(whole, 1):.1f}%)"


def _cell(value: Any) -> str:
    """A value in a Markdown table."""
    return str(value).replace("|", "\\|").replace("\n", " ")


def _plain(words: str) -> str:
    """Words that Markdown leaves as they are; labels can be punctuation."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", words)
