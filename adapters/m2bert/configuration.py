"""The configuration of an M2-BERT."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from transformers import PreTrainedConfig

from loco.errors import LocoError

# What every released model has set like this and what is not built here; a checkpoint that says otherwise is refused.
_ONLY: dict[str, Any] = {
    "hidden_act": "gelu",
    "monarch_mixer_sequence_mixing": True,
    "bidirectional": True,
    "residual_long_conv": True,
    "hyena_training_additions": False,
    "use_glu_mlp": True,
    "use_monarch_mlp": True,
    "use_positional_encodings": True,
    "expand_positional_embeddings": False,
    "sequence_token_planting": False,
    "attention_pooling": False,
    "use_cls_token": False,
    "use_normalized_embeddings": False,
}
# What decides nothing in the forward pass: FlashFFTConv's switches, options of the reference that it never reads.
_WITHOUT_EFFECT = frozenset(
    {
        "num_attention_heads",
        "attention_probs_dropout_prob",
        "hyena_filter_dropout",
        "hyena_wd",
        "hyena_lr_pos_emb",
        "long_conv_kernel_learning_rate",
        "use_flash_fft",
        "use_flash_mm",
        "performing_BEIR_evaluation",
        "gather_sentence_embeddings",
        "auto_map",
    }
)

_LARGEST = 10**8  # the product of two such sizes still has a number of bytes that PyTorch can count


def options() -> set[str]:
    """Everything in a config.json that :class:`M2BertConfig` reads."""
    return {*M2BertConfig.__annotations__, *_ONLY} - {"model_type"}


class M2BertConfig(PreTrainedConfig):
    """The shape of an M2-BERT; the defaults are the released 80M models' at a window of 2,048 tokens.

    - ``vocab_size``, ``type_vocab_size``: rows of the word and of the token type table.
    - ``hidden_size``, ``intermediate_size``, ``num_hidden_layers``: widths H and I, and how many layers.
    - ``max_position_embeddings``: the window N in tokens; ``long_conv_l_max`` is the same number by its other name.
    - ``monarch_mlp_nblocks``: blocks of the block-diagonal products; H and I are multiples of it.
    - ``hyena_filter_order``, ``hyena_emb_dim``: width o of the filters' MLPs and number e of their input features,
      odd and at least 3.
    - ``hyena_w``, ``hyena_w_mod``: the frequency the sines start from, and a fixed factor on it.
    - ``pool_all``: pool by the mean over the mask instead of by position 0.
    - ``pad_to_window``: texts are padded to the window, as the released models' are, and pads read like any other text.
      If false, a text is read at its own length, whatever it is padded to; ours, not the reference's.
    - ``hidden_dropout_prob``, ``layer_norm_eps``, ``initializer_range``, ``pad_token_id``: as in BERT.

    Other options of the reference are accepted where they say what the released models say.

    Raises LocoError for a shape that cannot be and for an option that is not built.
    """

    model_type = "m2_bert"

    vocab_size: int = 30528
    hidden_size: int = 768
    num_hidden_layers: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 2048
    long_conv_l_max: int | None = None
    type_vocab_size: int = 2
    hidden_dropout_prob: float | int = 0.1
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    pad_token_id: int | None = 0
    monarch_mlp_nblocks: int = 4
    hyena_filter_order: int = 128
    hyena_emb_dim: int = 5
    hyena_w: float | int = 10
    hyena_w_mod: float | int = 1
    pool_all: bool = False
    pad_to_window: bool = True
    tie_word_embeddings: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        for option, built in _ONLY.items():
            if (said := kwargs.pop(option, built)) != built:
                raise LocoError(f"This M2-BERT has {option} = {_short(said)}; only {built!r} is built here.")
        for option in _WITHOUT_EFFECT:
            kwargs.pop(option, None)
        if self.long_conv_l_max is None:
            self.long_conv_l_max = self.max_position_embeddings
        for problem in self._problems():
            raise LocoError(f"This is no configuration of an M2-BERT: {problem}.")
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]

    def _problems(self) -> list[str]:
        sizes = ["vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size", "max_position_embeddings"]
        sizes += ["type_vocab_size", "monarch_mlp_nblocks", "hyena_filter_order", "hyena_emb_dim"]
        wrong = self._unlike(sizes, _is_size, f"a whole number from 1 to {_LARGEST:,}")
        wrong += self._unlike(["hyena_w", "hyena_w_mod"], _is_number, "a number")
        not_negative = ["layer_norm_eps", "initializer_range"]
        wrong += self._unlike(not_negative, lambda said: _is_number(said) and said >= 0, "a number from 0 on")
        wrong += self._unlike(["hidden_dropout_prob"], lambda said: _is_number(said) and 0 <= said <= 1, "from 0 to 1")
        wrong += self._unlike(["pool_all", "pad_to_window"], lambda said: isinstance(said, bool), "true or false")
        if wrong:
            return wrong
        blocks, words = self.monarch_mlp_nblocks, range(self.vocab_size)
        wrong += self._unlike(
            ["pad_token_id"],
            lambda said: said is None or (type(said) is int and said in words),
            f"one of the {self.vocab_size} words",
        )
        if self.long_conv_l_max != self.max_position_embeddings:
            wrong.append(
                f"long_conv_l_max {_short(self.long_conv_l_max)} differs from the window {self.max_position_embeddings}"
            )
        if self.hidden_size % blocks or self.intermediate_size % blocks or 2 * self.intermediate_size % blocks:
            wrong.append(f"widths {self.hidden_size} and {self.intermediate_size} do not divide into {blocks} blocks")
        if self.hyena_emb_dim < 3 or self.hyena_emb_dim % 2 == 0:
            wrong.append(f"hyena_emb_dim is {self.hyena_emb_dim}, not an odd number from 3 on")
        return wrong

    def _unlike(self, names: Iterable[str], fits: Callable[[Any], bool], what: str) -> list[str]:
        return [f"{name} is {_short(said)}, not {what}" for name in names if not fits(said := getattr(self, name))]


def _is_size(said: object) -> bool:
    return type(said) is int and 1 <= said <= _LARGEST


def _is_number(said: object) -> bool:
    return isinstance(said, (int, float)) and not isinstance(said, bool) and math.isfinite(said)


def _short(said: object) -> str:
    """A value out of somebody's file, to stand in a line."""
    return repr(said)[:80]
