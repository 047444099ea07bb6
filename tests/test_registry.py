"""Models by name: cards, hub ids, folders, classes, and what a user may say of them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tasks import model_card as a_card

import loco.models.registry as registry
from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.models.registry import model_card, strategies_of

KNOWN = a_card("known", "test_registry:nothing", "truncate", "chunk").model_copy(
    update={"max_tokens": 512, "parameters": {"hub": "owner/known"}}
)


def resolve(name: str, settings: Mapping[str, str]) -> ModelCard | None:
    """A plug-in's: knows folders."""
    return a_card(name[2:], "test_registry:nothing") if name.startswith("./") else None


@pytest.fixture(autouse=True)
def plug_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "model_cards", lambda: {KNOWN.name: KNOWN})
    monkeypatch.setattr(registry, "_offers", lambda group: [("'test'", resolve)])


def test_a_card_is_found_by_its_name_and_by_its_hub_id() -> None:
    assert model_card("known") == model_card("owner/known") == KNOWN


def test_what_a_user_sets_is_part_of_the_name_so_that_results_lie_beside_each_other() -> None:
    names = [
        model_card("./mine", settings).name
        for settings in (
            {},
            {"query_prompt": "q: "},
            {"query_prompt": "q:\n", "pooling": "cls"},
            {"query_prompt": "x" * 500},
        )
    ]
    assert names[:3] == ["mine", "mine (query_prompt='q: ')", "mine (pooling='cls', query_prompt='q:\\n')"]
    assert len(set(names)) == 4
    assert max(map(len, names)) < 200


@pytest.mark.parametrize(
    ("name", "settings", "line"),
    [
        ("knwon", {}, "No model 'knwon'. Did you mean 'known'\\?"),
        ("known", {"pooling": "cls"}, "states its own pooling and prompts: leave out --pooling"),
        ("./known", {}, "'known' is the name of a known model, and this is a folder. Rename"),
    ],
)
def test_a_name_or_setting_that_cannot_be_is_one_line(name: str, settings: dict[str, str], line: str) -> None:
    with pytest.raises(LocoError, match=line):
        model_card(name, settings)


def test_a_strategy_the_model_does_not_have_is_told_apart_from_one_that_nobody_has() -> None:
    with pytest.raises(LocoError, match=r"'known' cannot be run under late-chunk\. It has: truncate, chunk"):
        strategies_of(KNOWN, "late-chunk")
    with pytest.raises(LocoError, match=r"No strategy 'chnk'\. Did you mean 'chunk'"):
        strategies_of(KNOWN, "chnk")


def test_strategies_are_named_whole_and_once() -> None:
    names = [
        strategy.name for strategy in strategies_of(KNOWN, "chunk, truncate(512), chunk(512, overlap=0), truncate")
    ]
    assert names == ["chunk(512, overlap=0)", "truncate(512)"]
    assert [strategy.name for strategy in strategies_of(KNOWN, None)] == ["truncate(512)"]
    with pytest.raises(LocoError, match="No strategy is named"):
        strategies_of(KNOWN, " , ")
