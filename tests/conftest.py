"""Small real things for the tests: a retriever of two layers, a vocabulary over it, documents, an index."""

from __future__ import annotations

import gc
import json
import logging
import os
from pathlib import Path

import pytest
from hypothesis import settings

from tiny_collection import DOCUMENTS, QRELS, QUERIES

# The first call of a compiled kernel takes a second, so single examples have no deadline.
settings.register_profile("lexite", deadline=None)
settings.load_profile("lexite")
# What a terminal or a CI job says of colours and width must not decide what a test sees.
for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM", "COLUMNS", "LINES"):
    os.environ.pop(name, None)
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")  # no test lives long enough for more
os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as lexite sets it where it is imported before torch
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray's reports come from a thread that outlives its tests
if not Path("/dev/nvidiactl").exists():  # kernels of Triton run in its interpreter, which it must know before it is imported
    os.environ.setdefault("TRITON_INTERPRET", "1")

WORDS = """a an the of in on to and or is are was for with by from how what which does do not it this that
cat dog bird fish horse cow milk meat bread cheese apple tree river lake sea ship wind rain snow sun moon star
read write file open close parse json text word list sort search index query number sum count time date clock
python module class function object string error value key table row column graph node edge path tree stack heap
heart blood cell gene protein virus cancer drug dose trial patient risk study effect level rate test sample""".split()
D_MODEL, N_LATENTS = 32, 64


def pytest_collection_finish() -> None:
    """Lets the garbage collector pass over what was imported for the tests: it stays to their end, and is a million objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def as_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes back what the command line sets for its process, when tests or fixtures ran it before: loggers that are quiet and
    write to stderr alone, threads that tokenize (which hang in a process that is forked from one where they ran)."""
    logger = logging.getLogger("lexite")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers folder: BERT with two layers of 32, mean pooling, a window of 32 tokens."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    root = tmp_path_factory.mktemp("model")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(WORDS)]
    pieces += [chr(c) for c in range(33, 127)] + [f"##{chr(c)}" for c in range(97, 123)]
    pieces = list(dict.fromkeys(piece.lower() for piece in pieces[5:]))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]
    (root / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=D_MODEL, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    config.max_position_embeddings = 64
    transformer = root / "transformer"
    BertModel(config).eval().save_pretrained(transformer)
    BertTokenizerFast(str(root / "vocab.txt"), do_lower_case=True).save_pretrained(transformer)
    module = Transformer(str(transformer), max_seq_length=32)
    model = SentenceTransformer(modules=[module, Pooling(D_MODEL, pooling_mode="mean")], device="cpu")
    model.save(str(root / "tiny"))
    return root / "tiny"


def write_jsonl(path: Path, records: list[dict[str, object]]) -> Path:
    """Writes records, one JSON object a line."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BEIR folder of six documents and three queries."""
    folder = tmp_path_factory.mktemp("collections") / "tiny"
    (folder / "qrels").mkdir(parents=True)
    write_jsonl(folder / "corpus.jsonl", [{"_id": i, "title": title, "text": text} for i, title, text in DOCUMENTS])
    write_jsonl(folder / "queries.jsonl", [{"_id": i, "text": text} for i, text in QUERIES])
    lines = ["query-id\tcorpus-id\tscore", *(f"{q}\t{d}\t{g}" for q, d, g in QRELS)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def documents(collection: Path) -> Path:
    """The documents of the collection as a JSONL file."""
    return collection / "corpus.jsonl"


@pytest.fixture(scope="session")
def tiny_vocabulary(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved vocabulary: a random dictionary of 64 latents, 4 per token, over the tiny model, with labels."""
    return make_vocabulary(tiny_model, tmp_path_factory.mktemp("vocabularies") / "tiny", seed=0)


@pytest.fixture(scope="session")
def other_vocabulary(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another vocabulary over the same model."""
    return make_vocabulary(tiny_model, tmp_path_factory.mktemp("vocabularies") / "other", seed=1)


def make_vocabulary(model: Path, path: Path, seed: int) -> Path:
    """Saves a random dictionary over a model as a vocabulary that drops no terms."""
    import torch

    from lexite.backbone import BackboneConfig, load_backbone
    from lexite.sae import SAEConfig, SparseAutoencoder
    from lexite.terms import LatentTermEncoder, ModelDetails, TermsConfig, measure_vocabulary

    generator = torch.Generator().manual_seed(seed)
    weights = torch.nn.functional.normalize(torch.randn(N_LATENTS, D_MODEL, generator=generator), dim=1)
    biases = torch.zeros(N_LATENTS), torch.zeros(D_MODEL)
    sae = SparseAutoencoder(SAEConfig(d_model=D_MODEL, n_latents=N_LATENTS, k=4), weights, biases[0], None, biases[1])
    backbone = load_backbone(BackboneConfig(model=str(model), precision="fp32", overlap=4))
    terms = TermsConfig(floor_documents=0.0, floor_queries=0.0)
    encoder = LatentTermEncoder(backbone, sae, terms, details=ModelDetails(name=path.name))
    encoder = encoder.replaced(vocabulary=measure_vocabulary(encoder, [text for _, _, text in DOCUMENTS]))
    encoder.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def tiny_index(tiny_vocabulary: Path, documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the six documents, of latent terms alone; it is not to be changed."""
    from lexite.cli import main

    path = tmp_path_factory.mktemp("indexes") / "tiny"
    words = ["-o", str(path), "--vocabulary", str(tiny_vocabulary), "--no-literal"]
    assert main(["-q", "index", str(documents), *words]) == 0
    return path
