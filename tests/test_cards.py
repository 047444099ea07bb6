"""What every row of adapters/cards.toml must satisfy, a new one as well."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from loco.encode.strategies import KINDS, parse
from loco.files import read_toml
from loco.models.card import ModelCard, read_model_cards
from loco_adapters.late_interaction.settings import late_parameters_of
from loco_adapters.transformer.settings import parameters_of

PATH = Path(__file__).parents[1] / "adapters" / "cards.toml"
CARDS = read_model_cards(PATH)
TRANSFORMERS = [card for card in CARDS if card.family == "transformer"]
LATE = [card for card in CARDS if card.family == "late interaction"]
WITH_STRATEGIES = ("truncate", "chunk", "chunk-max")

PAPER_BASELINES = {
    "BAAI/bge-large-en-v1.5",
    "intfloat/e5-mistral-7b-instruct",
    "jinaai/jina-embeddings-v2-base-en",
    "sentence-transformers/msmarco-bert-base-dot-v5",
}

every_card = pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
every_checkpoint = pytest.mark.parametrize("card", [*TRANSFORMERS, *LATE], ids=lambda card: card.name)
every_transformer = pytest.mark.parametrize("card", TRANSFORMERS, ids=lambda card: card.name)


def setting(card: ModelCard, name: str) -> str:
    value = card.parameters[name]
    assert isinstance(value, str)
    return value


def test_no_two_cards_share_a_name_however_it_is_spelt() -> None:
    names = [card.name.casefold() for card in CARDS]
    assert len(set(names)) == len(names)


def test_no_two_cards_are_the_same_checkpoint() -> None:
    assert len({setting(card, "hub") for card in TRANSFORMERS}) == len(TRANSFORMERS)


def test_the_papers_baselines_have_cards_that_say_so() -> None:
    assert {setting(card, "hub") for card in TRANSFORMERS if "LoCoV1 paper" in card.description} == PAPER_BASELINES


@every_card
def test_a_name_is_safe_on_a_command_line_and_as_a_folder(card: ModelCard) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", card.name)


@every_card
def test_a_card_says_in_one_line_what_the_model_is_and_where_from(card: ModelCard) -> None:
    assert re.fullmatch(r"[^\n]{10,120}", card.description)
    assert not card.description.endswith(".")
    assert card.url.startswith("https://")
    assert card.licence


@every_card
def test_strategies_are_known_and_go_with_the_window(card: ModelCard) -> None:
    assert len(set(card.strategies)) == len(card.strategies)
    for strategy in card.strategies:
        assert strategy in KINDS
        assert parse(strategy, card.max_tokens).kind == strategy
    if card.max_tokens is None:
        assert card.strategies == ("full",)
    elif card.family == "late interaction":  # all vectors of a text together, however it is cut
        assert card.strategies == WITH_STRATEGIES[:2]
    else:
        assert card.strategies[:3] == WITH_STRATEGIES
        assert set(card.strategies[3:]) <= {"late-chunk"}


@every_checkpoint
def test_a_checkpoint_is_pinned_to_a_commit_of_the_one_its_url_shows(card: ModelCard) -> None:
    assert re.fullmatch(r"[0-9a-f]{40}", card.revision)
    assert card.url == f"https://huggingface.co/{setting(card, 'hub')}"
    assert setting(card, "hub").rpartition("/")[2].casefold() in (card.name.casefold(), f"{card.name}.0")
    assert card.weights is not None
    assert card.max_tokens is not None


@every_transformer
def test_a_transformer_states_what_it_must_not_guess(card: ModelCard) -> None:
    rows = {row["name"]: row for row in read_toml(PATH)["model"]}
    stated = {"hub", "normalise", "query_prompt", "document_prompt", "similarity", "padding", "remote_code"}
    optional = {"pooling", "matryoshka", "matryoshka_layer_norm"}
    assert stated <= rows[card.name]["parameters"].keys() <= stated | optional
    parameters = parameters_of(card)
    assert parameters.remote_code is not None
    # Vectors compared by dot product mean something by their length, which must stay as it is.
    assert (parameters.similarity, parameters.normalise) in [("cosine", True), ("dot", False)]


@every_transformer
@pytest.mark.parametrize("role", ["query", "document"])
def test_a_prompt_ends_where_the_text_can_follow(card: ModelCard, role: str) -> None:
    prompt = setting(card, f"{role}_prompt")
    # Qwen's ends in a colon, to which its authors add no blank.
    assert prompt == "" or prompt.endswith((" ", "\n", "\nQuery:"))
    assert prompt == prompt.lstrip()


@every_transformer
def test_matryoshka_dimensions_are_a_list_or_a_range_in_ascending_order(card: ModelCard) -> None:
    dims = card.parameters.get("matryoshka")
    if dims is None:
        assert "matryoshka_layer_norm" not in card.parameters
        return
    assert re.fullmatch(r"\d+(,\d+)+|\d+-\d+", str(dims))
    numbers = [int(number) for number in re.split("[,-]", str(dims))]
    assert (np.diff(numbers) > 0).all()


def test_a_late_interaction_model_states_both_windows() -> None:
    for card in LATE:
        parameters = late_parameters_of(card)
        assert card.max_tokens == max(parameters.query_tokens, parameters.document_tokens)
        assert parameters.remote_code is not None


@every_checkpoint
def test_a_card_is_in_the_table_of_facts(card: ModelCard) -> None:
    table = (PATH.parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    (row,) = [line for line in table.splitlines() if line.startswith(f"| `{card.name}` |")]
    assert card.revision[:8] in row
    assert f"{card.max_tokens:,}" in row
