"""Late interaction checkpoints: what sentence-transformers makes of them, token vector by token vector."""

from __future__ import annotations

import json
import shutil
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.util import similarity
from tasks import small_task
from test_maxsim import dealt, found, normal
from typer.testing import CliRunner

from loco.cli import app
from loco.encode.encoding import room
from loco.encode.late import rank_late
from loco.encode.store import EmbeddingStore
from loco.encode.strategies import parse
from loco.errors import LocoError
from loco.models.protocols import Input, Role
from loco.models.registry import load_model, model_card
from loco.models.runtime import Runtime
from loco.rank.ranking import Float32
from loco.results import Result, read_record
from loco.tasks.data import write_task
from loco_adapters.late_interaction.model import LateEncoder
from loco_adapters.late_interaction.resolve import windows
from loco_adapters.transformer.checkpoint import local_configs

WINDOW, DIM = 64, 8
WORDS = "the cat dog red green runs sleeps and of to query : passage a probe ##s ##ing run"
VOCABULARY = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.punctuation]
VOCABULARY += [word for word in [*string.ascii_lowercase, *WORDS.split()] if word not in VOCABULARY]
VOCABULARY += [f"##{letter}" for letter in string.ascii_lowercase if f"##{letter}" not in VOCABULARY]
TEXTS = [
    "The cat runs, and the dog sleeps.",
    "red",
    "...!",
    "Dogs of green: running to [MASK] the café -- 7 cats; " * 9,
    "a probe of red cats and [unused1] green dogs, " * 2,
]
FORMATS: dict[str, tuple[int, int]] = {  # the windows of documents and of queries
    "fixed": (24, 12),
    "attended": (24, 12),
    "least": (64, 20),
    "plain": (30, 64),
    "both": (64, 16),
    "pylate": (40, 32),
    "pylate-plain": (40, 17),
    "pylate-marked": (40, 32),
    "stanford": (36, 14),
    "stanford-bare": (64, 32),
}
every_format = pytest.mark.parametrize("name", FORMATS)


def bert(folder: Path) -> Path:
    """A BERT that knows letters, a few words, and all punctuation."""
    import tokenizers
    from tokenizers import normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    ids = {word: place for place, word in enumerate(VOCABULARY)}
    made = tokenizers.Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(word, ids[word]) for word in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "pad", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=WINDOW, **special).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(ids) + 2,  # for markers that a test adds
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=WINDOW,
        pad_token_id=0,
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def native(folder: Path, plain: Path, prompts: dict[str, str], tasks: list[str] | None = None, **settings: Any) -> Path:
    torch.manual_seed(1)
    dense = Dense(16, DIM, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings")
    mask = MultiVectorMask(skiplist_words=list(string.punctuation), skiplist_tasks=tasks)
    modules = [Transformer(str(plain), **settings), dense, mask, Normalize(module_input_name="token_embeddings")]
    MultiVectorEncoder(modules=modules, prompts=prompts, device="cpu").save(str(folder))
    return folder


def pylate(folder: Path, plain: Path, **said: Any) -> Path:
    """As PyLate 1 writes it: two modules, everything else in one file, markers instead of prompts."""
    native(folder, plain, {})
    checkpoints.named(
        folder, ("", "sentence_transformers.models.Transformer"), ("1_Dense", "pylate.models.Dense.Dense")
    )
    config = json.loads((folder / "1_Dense" / "config.json").read_text())
    for new in ("module_input_name", "module_output_name"):
        config.pop(new, None)
    checkpoints.write(folder / "1_Dense" / "config.json", config)
    markers = {"query_prefix": "[unused0]", "document_prefix": "[unused1]"}
    about = {"model_type": "ColBERT", "prompts": {}, "similarity_fn_name": "MaxSim", **markers, **said}
    checkpoints.write(folder / "config_sentence_transformers.json", about)
    checkpoints.write(folder / "sentence_bert_config.json", {"max_seq_length": 31, "do_lower_case": False})
    return folder


def marked(folder: Path) -> Path:
    """With markers in the vocabulary, each with the blank behind it."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.add_tokens(["[Q] ", "[D] "]) == 2
    tokenizer.save_pretrained(folder)
    return folder


def stanford(folder: Path, plain: Path, metadata: Mapping[str, object] | None) -> Path:
    """As ColBERT's own code writes it: the projection beside the weights of a BERT."""
    shutil.copytree(plain, folder)
    weights = {f"bert.{name}": tensor for name, tensor in load_file(plain / "model.safetensors").items()}
    torch.manual_seed(2)
    weights["linear.weight"] = torch.randn(DIM, 16)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    checkpoints.change(folder / "config.json", architectures=["HF_ColBERT"])
    if metadata is not None:
        checkpoints.write(folder / "artifact.metadata", metadata)
    return folder


def made(name: str, folder: Path, plain: Path) -> Path:
    prompts = {"query": "query: ", "document": "passage: "}
    expansion = {"strategy": "fixed", "length": 12}
    if name == "fixed":
        return native(folder, plain, prompts, document_length=24, query_expansion=expansion)
    if name == "attended":
        attended = {**expansion, "attend": True, "token": "cat"}
        return native(folder, plain, {"query": "[unused0] "}, document_length=24, query_expansion=attended)
    if name == "least":
        least = {"strategy": "min", "length": 15}
        return native(folder, plain, prompts, query_length=20, query_expansion=least)
    if name == "plain":
        return native(folder, plain, {}, document_length=30)
    if name == "both":
        return native(folder, plain, prompts, ["query", "document"], query_length=16)
    if name == "pylate":
        return pylate(folder, plain, query_length=32, document_length=40, attend_to_expansion_tokens=False)
    if name == "pylate-plain":
        return pylate(folder, plain, query_length=17, document_length=40, do_query_expansion=False, skiplist_words=[])
    if name == "pylate-marked":
        markers = {"query_prefix": "[Q] ", "document_prefix": "[D] "}
        return marked(pylate(folder, plain, query_length=32, document_length=40, **markers))
    if name == "stanford":
        said = {"query_maxlen": 14, "doc_maxlen": 36, "mask_punctuation": True, "attend_to_mask_tokens": False}
        return stanford(folder, plain, said)
    return stanford(folder, plain, None)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def folder_of(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a checkpoint in a format; made once."""
    folders = {}

    def folder(name: str) -> Path:
        if name not in folders:
            folders[name] = made(name, tmp_path_factory.mktemp(name) / name, plain)
        return folders[name]

    return folder


def encoder_of(folder: Path, **runtime: Any) -> LateEncoder:
    encoder = load_model(model_card(str(folder)), Runtime(device="cpu", **runtime))
    assert isinstance(encoder, LateEncoder)
    return encoder


def inputs(encoder: LateEncoder, texts: list[str], role: Role, strategy: str = "truncate") -> list[list[Input]]:
    made = parse(strategy, encoder.traits.max_tokens)
    return [made.cut(text, room(encoder, role)) for text in encoder.tokenize(texts, role)]


def vectors(encoder: LateEncoder, texts: list[str], role: Role) -> list[Float32]:
    return encoder.encode([one for each in inputs(encoder, texts, role) for one in each])


def theirs(folder: Path, texts: list[str], role: Role) -> list[Float32]:
    model = MultiVectorEncoder(str(folder), device="cpu", local_files_only=True)
    made: Any = (model.encode_query if role == "query" else model.encode_document)(texts, convert_to_numpy=True)
    return list(made)


@every_format
@pytest.mark.parametrize("role", ["query", "document"])
def test_token_vectors_are_those_of_sentence_transformers(
    name: str, role: Role, folder_of: Callable[[str], Path]
) -> None:
    ours, wanted = vectors(encoder_of(folder_of(name)), TEXTS, role), theirs(folder_of(name), TEXTS, role)
    assert [len(one) for one in ours] == [len(one) for one in wanted]
    assert len({len(one) for one in ours}) > 1 or (role == "query" and name not in ("plain", "both"))
    for one, other in zip(ours, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@every_format
def test_windows_are_read_from_the_checkpoint_whoever_wrote_it(name: str, folder_of: Callable[[str], Path]) -> None:
    folder = folder_of(name)
    assert windows(local_configs(str(folder))) == FORMATS[name]
    model: Any = MultiVectorEncoder(str(folder), device="cpu", local_files_only=True)
    encoder = encoder_of(folder)
    roles: tuple[Role, Role] = ("document", "query")
    for role, window in zip(roles, FORMATS[name], strict=True):
        ids = model.preprocess([TEXTS[3] * 5], task=role)["input_ids"]
        assert ids.shape[1] == window
        assert room(encoder, role).tokens == window - encoder.overhead(role)
    card = model_card(str(folder))
    assert (card.parameters["document_tokens"], card.parameters["query_tokens"]) == FORMATS[name]
    assert card.max_tokens == max(FORMATS[name])
    assert (card.strategies, card.family) == (("truncate", "chunk"), "late interaction")


@pytest.mark.parametrize("name", ["fixed", "stanford"])
def test_rankings_are_those_of_sentence_transformers(
    name: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    asked = {f"q{i}": text for i, text in enumerate(["red cats", "dogs sleep.", "green : running café"])}
    documents = {f"d{i}": text for i, text in enumerate([*TEXTS, "green dogs", "cats of red"])}
    task = small_task(asked, documents, {query: {"d0": 1} for query in asked})
    encoder = encoder_of(folder_of(name))
    truncate = parse("truncate", encoder.traits.max_tokens)
    (ranking,) = rank_late(encoder, [truncate], task, 100, EmbeddingStore(tmp_path)).values()
    model: Any = MultiVectorEncoder(str(folder_of(name)), device="cpu", local_files_only=True)
    scores = model.similarity(model.encode_query(list(asked.values())), model.encode_document([*documents.values()]))
    for query, row in zip(asked, scores.numpy(), strict=True):
        wanted = dict(zip(documents, row, strict=True))
        assert {hit.document: hit.score for hit in ranking.hits[query]} == pytest.approx(wanted, abs=1e-4)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_scores_are_those_of_sentence_transformers(of_documents: list[int], of_queries: list[int]) -> None:
    queries = dealt(normal(1, sum(of_queries), 24), of_queries)
    documents = dealt(normal(2, sum(of_documents), 24), of_documents)
    ours = found(queries, documents, [str(i) for i in range(len(of_documents))], 50)
    parts = [
        [torch.from_numpy(part) for part in np.split(each.matrix, each.starts[1:-1])] for each in (queries, documents)
    ]
    scores = similarity.maxsim(*parts).numpy()
    for hits, row, rows in zip(ours, scores, of_queries, strict=True):
        wanted = {str(d): row[d] for d, tokens in enumerate(of_documents) if tokens} if rows else {}
        assert {hit.document: hit.score for hit in hits} == pytest.approx(wanted, abs=1e-5 * max(rows, 1))


def test_a_long_text_in_pieces_is_read_to_its_end_each_piece_by_itself(folder_of: Callable[[str], Path]) -> None:
    encoder = encoder_of(folder_of("fixed"))
    for role in ("query", "document"):
        (pieces,) = inputs(encoder, [TEXTS[3]], role, "chunk")
        (tokenized,) = encoder.tokenize([TEXTS[3]], role)
        left = FORMATS["fixed"][role == "query"] - encoder.overhead(role)
        assert len(pieces) == -(-tokenized.tokens // left) > 3
        (beginning,) = inputs(encoder, [TEXTS[3]], role)[0]
        assert pieces[0].vector_keys() == beginning.vector_keys()


def test_vectors_do_not_depend_on_what_else_is_in_the_batch(folder_of: Callable[[str], Path]) -> None:
    encoder = encoder_of(folder_of("fixed"))
    mixed = [one for role in ("query", "document") for each in inputs(encoder, TEXTS, role) for one in each]
    alone = [encoder.encode([one])[0] for one in mixed]
    for one, other in zip(encoder.encode(mixed), alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_in_half_precision_the_projection_stays_whole(folder_of: Callable[[str], Path]) -> None:
    for name in ("fixed", "stanford"):
        half, whole = encoder_of(folder_of(name), dtype="bfloat16"), encoder_of(folder_of(name))
        assert half.traits.dtype == "bfloat16"
        ours = vectors(half, TEXTS[:1], "document")[0]
        assert not (ours == torch.from_numpy(ours).bfloat16().float().numpy()).all()
        np.testing.assert_allclose(ours, vectors(whole, TEXTS[:1], "document")[0], atol=0.1)


def test_traits_and_fingerprint_say_what_was_loaded(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    encoder = encoder_of(folder_of("fixed"))
    traits = encoder.traits
    assert (traits.dim, traits.document_tokens, traits.query_tokens) == (DIM, *FORMATS["fixed"])
    assert (traits.token_vectors, traits.unit_length, traits.spans) == (True, True, False)
    copy = Path(shutil.copytree(folder_of("fixed"), tmp_path / "copy"))
    assert encoder_of(copy).traits.fingerprint == traits.fingerprint
    checkpoints.change(copy / "2_MultiVectorMask" / "config.json", skiplist_words=["."])
    assert encoder_of(copy).traits.fingerprint != traits.fingerprint


# --- Bad input -------------------------------------------------------------------------------------------------------


def without_a_module(folder: Path, kind: str) -> None:
    rows = json.loads((folder / "modules.json").read_text())
    checkpoints.write(folder / "modules.json", [row for row in rows if not row["type"].endswith(kind)])


def without_projection(folder: Path) -> None:
    weights = {k: v for k, v in load_file(folder / "model.safetensors").items() if k != "linear.weight"}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def with_pooling(folder: Path) -> None:
    rows = json.loads((folder / "modules.json").read_text())
    kind = "sentence_transformers.multi_vector_encoder.modules.token_pooling.HierarchicalTokenPooling"
    checkpoints.write(folder / "modules.json", [*rows, {"idx": 4, "name": "4", "path": "4_P", "type": kind}])


def pickle_beside_a_part(folder: Path) -> None:
    """The same weights twice, neither where a projection's are looked for first."""
    torch.save(load_file(folder / "1_Dense" / "model.safetensors"), folder / "1_Dense" / "pytorch_model.bin")
    (folder / "1_Dense" / "model.safetensors").rename(folder / "1_Dense" / "model-00001-of-00001.safetensors")


def parts_beside_a_pickle(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "model-00001-of-00001.safetensors")}
    checkpoints.write(folder / "model.safetensors.index.json", index)


def changed(name: str, **settings: Any) -> Callable[[Path], object]:
    return lambda folder: checkpoints.change(folder / name, **settings)


BAD: list[tuple[str, Callable[[Path], object], str]] = [
    ("fixed", lambda folder: without_a_module(folder, "Dense"), "has no projection"),
    ("pylate", lambda folder: without_a_module(folder, "Dense"), "has no projection"),
    ("stanford", without_projection, "lacks its projection, linear.weight"),
    ("fixed", lambda folder: shutil.rmtree(folder / "1_Dense"), "1_Dense"),
    ("fixed", lambda folder: (folder / "1_Dense" / "model.safetensors").unlink(), "lacks its weights, 1_Dense/model"),
    ("fixed", lambda folder: without_a_module(folder, "MultiVectorMask"), "which tokens count"),
    ("fixed", lambda folder: (folder / "modules.json").unlink(), "lacks modules.json"),
    ("fixed", with_pooling, "HierarchicalTokenPooling"),
    (
        "fixed",
        lambda folder: checkpoints.change(folder / "sentence_bert_config.json", document_length="many"),
        "document_length = 'many', which is no number of tokens",
    ),
    (
        "fixed",
        lambda folder: checkpoints.change(folder / "sentence_bert_config.json", document_length=65),
        "says inputs of 65 tokens, and its transformer takes 64",
    ),
    (
        "stanford",
        lambda folder: checkpoints.change(folder / "artifact.metadata", query_maxlen=-1),
        "artifact.metadata says length = -1",
    ),
    ("stanford", lambda folder: (folder / "artifact.metadata").write_text("["), "cannot be read"),
    ("fixed", pickle_beside_a_part, "holds its weights as a pickle (1_Dense/pytorch_model.bin)"),
    ("stanford", parts_beside_a_pickle, "has its weights in parts"),
    ("fixed", changed("1_Dense/config.json", module_output_name="x"), "has no projection of its token vectors"),
    ("fixed", changed("2_MultiVectorMask/config.json", keep_only_token_ids=["a"]), "no token's id"),
    (
        "fixed",
        changed("sentence_bert_config.json", query_expansion={"strategy": "fixed", "length": 12, "token": ["a"]}),
        "expands queries by ['a']",
    ),
    (
        "fixed",
        changed("sentence_bert_config.json", processing_kwargs={"text": {"max_length": 5}}),
        "sets 'processing_kwargs' for its tokenizer",
    ),
]


@pytest.mark.parametrize(("name", "spoil", "line"), BAD, ids=[line for *_, line in BAD])
def test_a_checkpoint_that_is_not_whole_says_so_in_one_line(
    name: str, spoil: Callable[[Path], object], line: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folder_of(name), tmp_path / "spoilt"))
    spoil(folder)
    with pytest.raises(LocoError) as caught:
        encoder_of(folder)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_such_a_model_does_not_have_cannot_be_set(folder_of: Callable[[str], Path]) -> None:
    with pytest.raises(LocoError, match="prompts of its own: leave out --pooling, --query-prompt"):
        model_card(str(folder_of("fixed")), {"pooling": "mean", "query_prompt": "x"})
    card = model_card(str(folder_of("fixed")))
    dense = card.model_copy(update={"factory": "loco_adapters.transformer.model:transformer_encoder", "parameters": {}})
    with pytest.raises(LocoError, match="makes a vector of each token"):
        load_model(dense)
    small = card.model_copy(update={"parameters": {"query_tokens": 11, "document_tokens": 24}})
    with pytest.raises(LocoError, match=r"expands queries to 12 tokens, and the card .* says a query window of 11"):
        load_model(small)
    with pytest.raises(LocoError, match="must say max_tokens = 24"):
        load_model(card.model_copy(update={"max_tokens": 64}))
    wide = card.model_copy(update={"max_tokens": 65, "parameters": {"query_tokens": 12, "document_tokens": 65}})
    with pytest.raises(LocoError, match="says a window of 65 tokens, and its checkpoint takes 64"):
        load_model(wide)


def test_weights_that_are_no_numbers_name_the_text(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folder_of("fixed"), tmp_path / "nan"))
    weights = load_file(folder / "1_Dense" / "model.safetensors")
    save_file({name: tensor * np.nan for name, tensor in weights.items()}, folder / "1_Dense" / "model.safetensors")
    encoder = encoder_of(folder)
    with pytest.raises(LocoError, match="returned a vector that holds NaN or infinity for document 'd"):
        rank_late(encoder, [parse("truncate", 24)], small_task(), 10, EmbeddingStore(tmp_path / "store"))


# --- Commands --------------------------------------------------------------------------------------------------------


@pytest.fixture
def loco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCO_HOME", str(tmp_path / "home"))
    write_task(small_task(), tmp_path / "home" / "data")

    def run(*arguments: str | Path) -> Any:
        words = [str(one) for one in arguments]
        monkeypatch.setattr("sys.argv", ["loco", *words])
        return CliRunner().invoke(app, words)

    return run


def test_commands_measure_such_a_model_or_refuse_it_in_one_line(
    folder_of: Callable[[str], Path], loco: Callable[..., Any], tmp_path: Path
) -> None:
    folder = folder_of("fixed")
    about = ("--model", folder, "--task", "qmsum", "--variant", "mini")
    done = loco("eval", *about, "--strategy", "truncate,chunk")
    assert done.exit_code == 0, done.output
    results = [read_record(path) for path in sorted((tmp_path / "results").rglob("qmsum.json"))]
    assert {result.strategy for result in results if isinstance(result, Result)} == {
        "truncate(24)",
        "chunk(24, overlap=0)",
    }
    for result in results:
        assert isinstance(result, Result)
        assert result.measurement is not None
        assert result.measurement.vectors is not None
        assert result.measurement.vectors.similarity == "maxsim"
        assert result.measurement.queries is not None
        assert result.measurement.queries.texts_cut == (2 if result.strategy.startswith("truncate") else 0)
    path = next((tmp_path / "results").rglob("qmsum.json"))
    explained = loco("explain", path, "q1")
    assert explained.exit_code == 0, explained.output
    assert loco("cache", "verify").exit_code == 0
    speed = loco("speed", "--model", folder, "--tokens", "64", "--repeats", "1", "--out", tmp_path / "speed")
    assert speed.exit_code == 0, speed.output
    few = ("--queries", "2", "--positions", "2", "--distractors", "1", "--out", tmp_path / "needle")
    needle = loco("needle-haystack", "--model", folder, *few, "--strategy", "truncate")
    assert needle.exit_code == 0, needle.output
    for place in range(12):
        checkpoints.write(tmp_path / "texts" / ["cats", "dogs"][place % 2] / f"{place}.txt", f"cat {place}")
    for arguments, line in (
        (
            ("cluster", tmp_path / "texts", "--model", folder),
            "a vector for each token, and a cluster needs one",
        ),
        (("eval", *about, "--quantise", "int8"), "a vector for each token"),
        (("eval", *about, "--dim", "4"), "leave out --dim"),
        (("eval", *about, "--strategy", "chunk-max"), "cannot be run under chunk-max. It has: truncate, chunk."),
    ):
        refused = loco(*arguments)
        assert refused.exit_code == 2
        assert line in " ".join(refused.stderr.split())
