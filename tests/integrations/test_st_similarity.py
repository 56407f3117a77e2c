"""BM25Similarity against BM25Index, over every kind of embedding and every option of the scoring."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save_file
from scipy import sparse

from lexite.errors import ArgumentError, ModelError, StorageError
from lexite.files import json_checksum
from lexite.index import BM25Index
from lexite.integrations.sentence_transformers import LatentTermsSparseEncoder
from lexite.integrations.sentence_transformers import similarity as module
from lexite.integrations.sentence_transformers.embedding_rows import read_rows
from lexite.integrations.sentence_transformers.similarity import BM25Similarity, product_in_blocks, product_on_cpu
from lexite.scoring.config import BM25Config
from lexite.terms import EncodedQueries

WEIGHTS = st.one_of(st.just(0.0), st.just(0.0), st.floats(2.0**-6, 64.0, width=32))
SCORINGS = st.builds(
    BM25Config,
    k1=st.sampled_from([0.0, 0.5, 2.5, 100.0]),
    b=st.sampled_from([0.0, 0.4, 1.0]),
    idf=st.sampled_from(["lucene", "robertson", "bm25+"]),
    idf_power=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    delta=st.sampled_from([0.0, 1.0, 1.5]),
    document_transform=st.sampled_from(["none", "sqrt", "log1p"]),
    query_transform=st.sampled_from(["none", "sqrt", "log1p", "pow0.75"]),
)
UNTRANSFORMED = {"document_transform": "none", "query_transform": "none"}


@st.composite
def collections(draw):
    n_terms = draw(st.integers(1, 7))
    shapes = (draw(st.integers(1, 8)), n_terms), (draw(st.integers(1, 4)), n_terms)
    return tuple(draw(arrays.arrays(np.float32, shape, elements=WEIGHTS)) for shape in shapes)


def index_scores(documents: np.ndarray, queries: np.ndarray, scoring: BM25Config) -> np.ndarray:
    """Scores of BM25Index; 0 for documents that are no hits."""
    index = BM25Index.in_memory(sparse.csr_array(documents), [str(i) for i in range(len(documents))], scoring)
    found, values = index.search_arrays(EncodedQueries(sparse.csr_array(queries)), len(documents))
    scores = np.zeros((len(queries), len(documents)), dtype=np.float32)
    for row, (numbers, given_scores) in enumerate(zip(found, values, strict=True)):
        scores[row, numbers[numbers >= 0]] = given_scores[numbers >= 0]
    return scores


@pytest.fixture
def documents() -> np.ndarray:
    """Nine documents of six terms: one empty, the last term in none of them."""
    random = np.random.default_rng(3)
    dense = random.gamma(1.0, 2.0, (9, 6)) * (random.random((9, 6)) < 0.5)
    dense[4], dense[:, 5] = 0.0, 0.0
    return dense.astype(np.float32)


@pytest.fixture
def queries() -> np.ndarray:
    return np.array([[1.5, 0, 0.25, 0, 0, 3.0], [0, 0, 0, 0, 0, 2.0], [0, 2.0, 1.0, 1.0, 0.5, 0]], dtype=np.float32)


@given(collections(), SCORINGS)
@settings(max_examples=150)
def test_the_scores_are_those_of_the_index(matrices, scoring):
    documents, queries = matrices
    similarity = BM25Similarity(scoring, raw_embeddings=True).fit(documents)
    np.testing.assert_allclose(similarity(queries, documents), index_scores(documents, queries, scoring), rtol=1e-5)


def test_transforms_are_left_to_the_encoder_unless_embeddings_are_raw(documents, queries):
    scoring = BM25Config(document_transform="sqrt", query_transform="log1p")
    encoded = BM25Similarity(scoring).fit(np.sqrt(documents))(np.log1p(queries), np.sqrt(documents))
    raw = BM25Similarity(scoring, raw_embeddings=True).fit(documents)(queries, documents)
    np.testing.assert_allclose(encoded, raw, rtol=1e-6)
    plain = index_scores(np.sqrt(documents), np.log1p(queries), BM25Config(**UNTRANSFORMED))
    np.testing.assert_allclose(encoded, plain, rtol=1e-5)
    assert encoded.any()


@given(collections(), st.lists(st.integers(0, 8), max_size=3), st.floats(0.1, 3.0))
def test_chunks_of_a_collection_change_nothing(matrices, cuts, factor):
    documents, queries = matrices
    documents = documents * np.float32(factor)  # sums that round
    whole = BM25Similarity().fit(documents)
    parts = BM25Similarity()
    bounds = [0, *sorted(cuts), len(documents)]
    chunks = [documents[first:last] for first, last in zip(bounds[:-1], bounds[1:], strict=True)]
    for chunk in chunks:
        parts.partial_fit(chunk)
    assert parts.statistics.total_length == whole.statistics.total_length
    np.testing.assert_array_equal(parts.statistics.document_frequency, whole.statistics.document_frequency)
    assert torch.equal(torch.cat([parts(queries, chunk) for chunk in chunks], dim=1), whole(queries, documents))


def test_long_sums_round_alike_however_they_are_cut():
    documents = (10 ** np.random.default_rng(5).uniform(-9, 9, (1000, 4))).astype(np.float32)
    whole = BM25Similarity().fit(documents).statistics.total_length
    for size in (1, 7, 999):
        parts = BM25Similarity()
        for first in range(0, 1000, size):
            parts.partial_fit(documents[first : first + size])
        assert parts.statistics.total_length == whole


def uncoalesced(dense: np.ndarray) -> torch.Tensor:
    """COO with each weight in two halves, in falling order."""
    halves = torch.tensor(dense).to_sparse() / 2
    indices = torch.cat([halves.indices(), halves.indices()], dim=1).flip(1)
    return torch.sparse_coo_tensor(
        indices, torch.cat([halves.values(), halves.values()]).flip(0), dense.shape, check_invariants=True
    )


def unordered_csr(dense: np.ndarray) -> sparse.csr_array:
    """CSR with falling terms, duplicates and a stored zero."""
    rows = [[(t, w / 2) for t, w in enumerate(row) if w][::-1] * 2 + [(0, 0.0)] for row in dense]
    data = np.array([w for row in rows for _, w in row], dtype=np.float32)
    bounds = np.cumsum([0, *map(len, rows)])
    return sparse.csr_array((data, np.array([t for row in rows for t, _ in row]), bounds), shape=dense.shape)


KINDS = {
    "dense": torch.tensor,
    "double": lambda dense: torch.tensor(dense, dtype=torch.float64),
    "with gradients": lambda dense: torch.tensor(dense, requires_grad=True),
    "coo": lambda dense: torch.tensor(dense).to_sparse(),
    "uncoalesced": uncoalesced,
    "csr": lambda dense: torch.tensor(dense).to_sparse_csr(),
    "csc": lambda dense: torch.tensor(dense).to_sparse_csc(),
    "numpy": np.asarray,
    "numpy double": lambda dense: dense.astype(np.float64),
    "fortran": np.asfortranarray,
    "scipy csr": sparse.csr_array,
    "scipy csr, unordered": unordered_csr,
    "scipy csc": sparse.csc_array,
    "scipy coo": sparse.coo_array,
    "scipy matrix": sparse.csr_matrix,
    "list of sparse": lambda dense: [torch.tensor(row).to_sparse() for row in dense],
    "list of dense": lambda dense: [torch.tensor(row) for row in dense],
    "list of both": lambda dense: [
        torch.tensor(row).to_sparse() if i % 2 else torch.tensor(row) for i, row in enumerate(dense)
    ],
    "list of numpy": list,
    "list of scipy": lambda dense: [sparse.csr_array(row[None]) for row in dense],
    "list of lists": lambda dense: dense.tolist(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:Sparse C:UserWarning")
def test_every_kind_of_embedding_is_read(kind, documents, queries):
    expected = index_scores(documents, queries, BM25Config(**UNTRANSFORMED))
    given_documents, given_queries = KINDS[kind](documents), KINDS[kind](queries)
    similarity = BM25Similarity().fit(given_documents)
    scores = similarity(given_queries, given_documents)
    assert scores.dtype == torch.float32 and scores.layout == torch.strided and not scores.requires_grad
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    pairs = similarity.pairwise(given_queries, KINDS[kind](documents[:3]))
    np.testing.assert_allclose(pairs, np.diagonal(expected), rtol=1e-5)


def test_what_is_given_is_left_as_it_was(documents):
    disorderly = unordered_csr(documents)
    before = disorderly.copy()
    similarity = BM25Similarity(raw_embeddings=True).fit(disorderly)
    similarity(disorderly, disorderly)
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(disorderly, part), getattr(before, part))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_scored_in_single(dtype, documents, queries):
    rounded = [torch.tensor(part).to(dtype) for part in (documents, queries)]
    expected = index_scores(rounded[0].float().numpy(), rounded[1].float().numpy(), BM25Config(**UNTRANSFORMED))
    for layout in (torch.Tensor.contiguous, torch.Tensor.to_sparse):
        encoded = [layout(part) for part in rounded]
        np.testing.assert_allclose(BM25Similarity().fit(encoded[0])(encoded[1], encoded[0]), expected, rtol=1e-5)


@pytest.mark.parametrize("make", [np.asarray, torch.tensor, lambda row: torch.tensor(row).to_sparse(), sparse.coo_array])
def test_a_single_embedding_is_a_row(make, documents, queries):
    similarity = BM25Similarity().fit(documents)
    expected = similarity(queries, documents)
    assert torch.equal(similarity(make(queries[2]), documents), expected[2:])
    assert torch.equal(similarity(queries, make(documents[1])), expected[:, 1:2])
    assert torch.equal(similarity.pairwise(make(queries[2]), make(documents[1])), expected[2, 1:2])


@given(collections(), SCORINGS)
def test_pairs_are_the_diagonal(matrices, scoring):
    documents, queries = matrices
    n = min(len(documents), len(queries))
    similarity = BM25Similarity(scoring).fit(documents)
    expected = similarity(queries[:n], documents[:n]).diagonal()
    np.testing.assert_allclose(similarity.pairwise(queries[:n], documents[:n]), expected, rtol=1e-5)


@given(collections(), st.integers(1, 40))
def test_both_products_are_the_dense_one_whatever_the_block(matrices, elements):
    documents, queries = matrices
    factors, impacts = read_rows(queries, "queries"), read_rows(documents, "documents")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_ELEMENTS", elements)
        for product in (product_on_cpu, product_in_blocks):
            np.testing.assert_allclose(product(factors, impacts), queries @ documents.T, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("layout", [torch.Tensor.contiguous, torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr])
def test_scores_are_made_where_the_documents_are(layout):
    random = np.random.default_rng(0)
    dense = [random.gamma(1.0, 2.0, (n, 500)) * (random.random((n, 500)) < 0.1) for n in (700, 30)]
    documents, queries = (layout(torch.tensor(part, dtype=torch.float32)) for part in dense)
    similarity = BM25Similarity(raw_embeddings=True).fit(documents.cuda())
    assert similarity.statistics.n_documents == 700
    expected = similarity(queries, documents)
    for asked in (queries, queries.cuda()):
        scores = similarity(asked, documents.cuda())
        assert scores.device.type == "cuda"
        torch.testing.assert_close(scores.cpu(), expected, rtol=1e-5, atol=1e-6)
    pairs = similarity.pairwise(queries.cuda(), first_rows(documents, 30).cuda())
    torch.testing.assert_close(pairs.cpu(), expected[:, :30].diagonal(), rtol=1e-5, atol=1e-6)


def first_rows(documents: torch.Tensor, n: int) -> torch.Tensor:
    return documents.to_dense()[:n].to_sparse()


def test_nothing_as_large_as_texts_by_terms_is_made():
    shape, random = (100_000, 5_000_000), np.random.default_rng(0)  # dense: 2 TB
    entries = random.gamma(1.0, 2.0, 300_000), (random.integers(0, shape[0], 300_000), random.integers(0, 50, 300_000) * 99_999)
    documents = sparse.coo_array(entries, shape=shape).tocsr()
    tensor = torch.sparse_coo_tensor(np.stack(documents.tocoo().coords), documents.data, shape, check_invariants=True)
    queries = documents[:3]
    scores = BM25Similarity().partial_fit(documents[:50_000]).partial_fit(documents[50_000:])(queries, documents)
    assert scores.shape == (3, 100_000) and bool((scores.diagonal() > 0).all())
    assert torch.equal(BM25Similarity().fit(tensor)(queries, tensor), scores)


NO_TEXTS = {
    "list": [],
    "numpy": np.zeros((0, 6), np.float32),
    "coo": torch.zeros(0, 6).to_sparse(),
    "scipy": sparse.csr_array((0, 6)),
    "numpy of one axis": np.zeros(0, np.float32),
    "dense of one axis": torch.zeros(0),
    "coo of one axis": torch.zeros(0).to_sparse(),
    "scipy of one axis": sparse.coo_array((0,)),
}


@pytest.mark.parametrize("empty", NO_TEXTS.values(), ids=NO_TEXTS)
def test_an_empty_corpus_gives_zeros_and_can_grow(empty, documents, queries):
    similarity = BM25Similarity().fit(empty)
    assert similarity.statistics.n_documents == 0 and similarity.statistics.average_length == 0.0
    assert similarity(queries, documents).eq(0).all() and similarity(queries, documents).shape == (3, 9)
    assert similarity.pairwise(queries, documents[:3]).tolist() == [0.0, 0.0, 0.0]
    assert similarity(empty, documents).shape == (0, 9) and similarity(queries, empty).shape == (3, 0)
    similarity.partial_fit(documents).partial_fit(empty)
    assert torch.equal(similarity(queries, documents), BM25Similarity().fit(documents)(queries, documents))
    assert similarity(empty, documents).shape == (0, 9) and similarity(queries, empty).shape == (3, 0)
    assert similarity.pairwise(empty, empty).shape == (0,)


@pytest.mark.parametrize("sparse_tensor", [True, False])
def test_a_chunk_of_no_texts_is_read_as_the_library_encodes_it(tiny_model, sparse_tensor):
    model = LatentTermsSparseEncoder.from_dense(str(tiny_model), hidden_dim=64, k=4)
    options = {"convert_to_sparse_tensor": sparse_tensor}
    nothing = model.encode_document([], **options)
    assert nothing.shape == (0,), "what the library makes of no texts"
    assert model.bm25(nothing).statistics.n_documents == 0
    encoded = model.encode_document(["the cat drinks milk", "a moon"], **options)
    similarity = model.bm25(encoded).partial_fit(nothing)
    assert similarity.statistics.n_documents == 2
    assert similarity(model.encode_query([], **options), encoded).shape == (0, 2)
    assert similarity(encoded, nothing).shape == (2, 0)
    assert model.bm25(nothing).partial_fit(encoded)(encoded, encoded).equal(similarity(encoded, encoded))


@pytest.mark.parametrize("product", [product_on_cpu, product_in_blocks])
def test_no_texts_have_no_scores_whatever_their_width(product, documents):
    nothing, some = read_rows([], "queries"), read_rows(documents, "documents")
    assert product(nothing, some).shape == (0, 9) and product(some, nothing).shape == (9, 0)


def test_texts_without_terms_and_terms_without_documents_score_zero(documents, queries):
    similarity = BM25Similarity(BM25Config(idf="bm25+")).fit(documents)
    scores = similarity(np.vstack([queries, np.zeros((1, 6), np.float32)]), documents)
    assert scores[:, 4].eq(0).all(), "an empty document"
    assert scores[1].eq(0).all(), "a query whose only term is in no document"
    assert scores[3].eq(0).all(), "an empty query"
    assert scores[0].gt(0).any() and scores.isfinite().all()
    unseen = similarity(queries[:1], np.array([[0, 0, 0, 0, 0, 9.0]], dtype=np.float32))
    assert unseen.tolist() == [[0.0]], "a document, not fitted, with a term that no fitted one has"
    assert BM25Similarity().fit(np.zeros((3, 6)))(queries, documents).eq(0).all(), "a corpus of empty documents"


def test_fitting_again_forgets_what_was_fitted(documents, queries):
    similarity = BM25Similarity().fit(documents[:4])
    assert similarity.fit(documents) is similarity
    assert torch.equal(similarity(queries, documents), BM25Similarity().fit(documents)(queries, documents))


def test_without_a_collection_there_is_no_score(documents, queries):
    similarity = BM25Similarity()
    for use in (similarity, similarity.pairwise):
        with pytest.raises(ModelError, match=r"knows no collection yet. Call fit"):
            use(queries, documents)
    with pytest.raises(ModelError, match="knows no collection"):
        _ = similarity.statistics


@pytest.mark.parametrize(
    ("embeddings", "error", "message"),
    [
        (np.array([[1.0, -2.0, 0, 0, 0, 0]]), ModelError, "term 1 in row 0 of the documents is -2.0"),
        (
            torch.tensor([[0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, float("nan")]]),
            ModelError,
            "term 5 in row 1 of the documents is nan",
        ),
        (np.array([[np.inf, 0, 0, 0, 0, 0]]), ModelError, "is inf, but BM25 needs"),
        (np.ones((2, 5)), ModelError, "5 dimensions, but 6 are expected"),
        (torch.ones(2, 7).to_sparse(), ModelError, "7 dimensions, but 6 are expected"),
        (torch.ones(1, 2, 6), ArgumentError, "have 3 axes"),
        (np.ones((1, 2, 6)), ArgumentError, "have 3 axes"),
        (torch.tensor(1.0), ArgumentError, "have 0 axes"),
        ([torch.ones(6), torch.ones(5)], ArgumentError, "cannot be put in one matrix"),
        ([[1.0] * 6, [1.0] * 5], ArgumentError, "cannot be put in one matrix"),
        ("a text", ArgumentError, "of the type str"),
        (["a text"], ArgumentError, "cannot be put in one matrix"),
        (np.array(["a"] * 6), ArgumentError, "not numbers"),
        (None, ArgumentError, "of the type NoneType"),
    ],
)
def test_unusable_embeddings_are_refused_and_change_nothing(embeddings, error, message, documents, queries):
    similarity = BM25Similarity().fit(documents)
    before = similarity(queries, documents)
    for use in (similarity.partial_fit, lambda given_documents: similarity(queries, given_documents)):
        with pytest.raises(error, match=message):
            use(embeddings)
    assert torch.equal(similarity(queries, documents), before)


def test_widths_and_numbers_must_agree(documents, queries):
    with pytest.raises(ModelError, match="of queries have 5 dimensions, but 6"):
        BM25Similarity().fit(documents)(queries[:, :5], documents)
    with pytest.raises(ModelError, match="queries have 5 dimensions, those of documents 6"):
        BM25Similarity().fit([])(queries[:, :5], documents)
    with pytest.raises(ArgumentError, match="3 queries and 9 documents"):
        BM25Similarity().fit(documents).pairwise(queries, documents)


def test_statistics_are_saved_and_loaded(tmp_path, documents, queries):
    scoring = BM25Config(k1=1.25, b=0.3, idf="bm25+", delta=0.5, document_transform="log1p")
    similarity = BM25Similarity(scoring, raw_embeddings=True).fit(documents)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    similarity.save(tmp_path / "model")
    loaded = BM25Similarity.load(str(tmp_path / "model"))
    assert loaded.scoring == scoring and loaded.raw_embeddings
    assert torch.equal(loaded(queries, documents), similarity(queries, documents))
    loaded.partial_fit(documents[:2])
    assert loaded.statistics.n_documents == 11
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["bm25_statistics.safetensors", "config.json"]


def test_saving_needs_a_collection_and_a_place(tmp_path, documents):
    with pytest.raises(ModelError, match="knows no collection"):
        BM25Similarity().save(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        BM25Similarity().fit(documents).save(tmp_path / "file")


def test_a_damaged_file_is_refused_wherever_it_is_damaged(tmp_path, documents):
    BM25Similarity().fit(documents).save(tmp_path)
    path = tmp_path / module.STATISTICS_FILE
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ModelError, match="bm25_statistics.safetensors"):
            BM25Similarity.load(tmp_path)
    for length in (0, 7, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="is damaged"):
            BM25Similarity.load(tmp_path)


def test_files_of_another_kind_or_version_are_refused(tmp_path, documents):
    with pytest.raises(ModelError, match="does not exist"):
        BM25Similarity.load(tmp_path)
    path = tmp_path / module.STATISTICS_FILE
    frequencies = {"document_frequency": np.zeros(3, np.int64)}
    save_file(frequencies, path)
    with pytest.raises(ModelError, match="does not hold statistics"):
        BM25Similarity.load(tmp_path)
    info = {"format": "lexite-bm25-statistics", "format_version": 2}
    save_file(frequencies, path, metadata={"lexite": json.dumps({**info, "sha256": json_checksum(info)})})
    with pytest.raises(ModelError, match=r"format version 2, but .* Install a newer lexite"):
        BM25Similarity.load(tmp_path)
