"""M2-BERT as transformers knows a model."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling, MaskedLMOutput

from loco.errors import LocoError

from . import fast
from .configuration import M2BertConfig
from .embeddings import M2BertEmbeddings
from .filters import (
    ExponentialModulation,
    ImplicitFilter,
    PositionFeatures,
    Sine,
    initial_decays,
    initial_features,
    initial_times,
)
from .kept import Keeping
from .mixer import SHORT, MonarchMixer
from .mlp import BlockDiagonalLinear, MonarchGLU

FREQ = "implicit_filter.1.freq"
FREQ_ALIASES = tuple(
    f"{network}.{at}.freq"
    for network in ("implicit_filter", "implicit_filter_rev")
    for at in (1, 3, 5)
    if f"{network}.{at}.freq" != FREQ
)
_ALIGNMENT = 64  # bytes: where torch lets a tensor on a CPU start


def align(model: nn.Module) -> None:
    """Move weights to where new ones would start.

    A tensor of a file starts anywhere in memory, and on some CPUs the last bits of a product depend on where: so no
    container gives other embeddings than the next.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if type(tensor) in (Tensor, nn.Parameter) and tensor.is_cpu and tensor.data_ptr() % _ALIGNMENT:
            tensor.data = tensor.data.clone()


def tied_frequencies(layers: int, prefix: str = "") -> dict[str, str]:
    """The other five names of each filter's frequency, and the one name that they stand for."""
    filters = [
        f"{prefix}encoder.layer.{i}.attention.{name}." for i in range(layers) for name in ("filter_fn", "filter_fn2")
    ]
    return {name + alias: name + FREQ for name in filters for alias in FREQ_ALIASES}


class M2BertLayer(Keeping, GradientCheckpointingLayer):
    """x' = MLP(Mixer(x)); SPEC 1."""

    def __init__(self, config: M2BertConfig) -> None:
        super().__init__()
        self.attention = MonarchMixer(config)
        self.mlp = MonarchGLU(config)

    def forward(self, x: Tensor, mask: Tensor | None = None, first: bool = False) -> Tensor:
        """Hidden states of shape (B, L, H) to the next ones, or with ``first`` to those at position 0, (B, H)."""
        mixed = self.attention.first(x, mask) if first else self.attention(x, mask)
        hidden: Tensor = self.mlp(mixed)
        return hidden


class M2BertEncoder(nn.Module):
    """The layers, one after the other."""

    def __init__(self, config: M2BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(M2BertLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: Tensor, hidden_states: list[Tensor] | None = None, mask: Tensor | None = None) -> Tensor:
        """The last hidden states, shape (B, L, H); those before each layer and after the last go to the list.

        With a ``mask`` of shape (B, L) what it is 0 for, behind a text, is not seen from the text.
        """
        layers = self._layers()
        weights = fast.prepared(layers, x) if mask is None else None
        if weights is not None:
            return fast.encode(weights, x, hidden_states)
        for layer in layers:
            if hidden_states is not None:
                hidden_states.append(x)
            x = layer(x, mask)
        if hidden_states is not None:
            hidden_states.append(x)
        return x

    def first(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The last hidden state at position 0 alone, shape (B, H): the last layer need not make the others.

        x is used up: its memory may be written to.
        """
        layers = self._layers()
        weights = fast.prepared(layers, x) if mask is None else None
        if weights is not None:
            return fast.encode_first(weights, x)
        for layer in layers[:-1]:
            x = layer(x, mask)
        hidden: Tensor = layers[-1](x, mask, first=True)
        return hidden

    def _layers(self) -> list[M2BertLayer]:
        return cast(list[M2BertLayer], list(self.layer))


class M2BertPooler(nn.Module):
    """tanh(W pool(x) + b), pool being position 0 or, with ``pool_all``, the mean over the mask; SPEC 1.5."""

    def __init__(self, config: M2BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, pooled: Tensor) -> Tensor:
        """Shape (B, H) to the same."""
        return torch.tanh(self.dense(pooled))


def masked_mean(hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
    """The mean of the hidden states, shape (B, L, H), over the positions whose mask is 1; of all without a mask."""
    if attention_mask is None:
        return hidden.mean(dim=1)
    mask = attention_mask.to(hidden.dtype)
    return torch.einsum("bl,blh->bh", mask, hidden) / mask.sum(dim=1, keepdim=True)


class M2BertPreTrainedModel(PreTrainedModel):
    """What all M2-BERTs have in common: how weights start, how they are named and which are one."""

    config_class = M2BertConfig
    base_model_prefix = "bert"
    supports_gradient_checkpointing = True
    _no_split_modules = ["M2BertLayer"]  # noqa: RUF012 - transformers reads it so
    _keep_in_fp32_modules_strict = ["filter_fn"]  # noqa: RUF012 - as ImplicitFilter does, where it is loaded
    # Constants of the reference's CUDA extension, and a table of 0, 1, 2, ... that it stores.
    _keys_to_ignore_on_load_unexpected = [r"flashfft", r"position_ids"]  # noqa: RUF012

    @classmethod
    def from_pretrained(cls, *args: Any, **options: Any) -> Any:
        """As of every model of transformers, its weights aligned."""
        loaded = super().from_pretrained(*args, **options)
        align(loaded[0] if isinstance(loaded, tuple) else loaded)
        return loaded

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """As the reference starts, but each layer drawn for itself; SPEC 4.1."""
        config = cast(M2BertConfig, self.config)
        if isinstance(module, nn.Conv1d):
            for tensor in (module.weight, cast(Tensor, module.bias)):
                init.uniform_(tensor, -(SHORT**-0.5), SHORT**-0.5)
        elif isinstance(module, BlockDiagonalLinear):
            init.uniform_(module.weight, -module.weight_bound, module.weight_bound)
            if module.bias is not None:
                init.uniform_(module.bias, -module.bias_bound, module.bias_bound)
        elif isinstance(module, ImplicitFilter):
            init.normal_(module.bias)
        elif isinstance(module, Sine):
            init.constant_(module.freq, module.start)
        elif isinstance(module, PositionFeatures):
            init.copy_(module.z, initial_features(config.max_position_embeddings, config.hyena_emb_dim))
            init.copy_(module.t, initial_times(config.max_position_embeddings))
        elif isinstance(module, ExponentialModulation):
            init.copy_(module.deltas, initial_decays(config.hidden_size))
        else:
            super()._init_weights(module)  # type: ignore[no-untyped-call]


class M2BertModel(M2BertPreTrainedModel):
    """The encoder: token ids to hidden states and to one embedding a text.

    No mask reaches the layers: padding is text like any other, and a text padded further is embedded differently. Pad
    to the window, or to whatever length the weights were trained at. Where the configuration does not pad to the
    window, the layers read a text as if no pads followed it.
    """

    def __init__(self, config: M2BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = M2BertEmbeddings(config)
        self.encoder = M2BertEncoder(config)
        self.pooler = M2BertPooler(config) if add_pooling_layer else None
        self._tied_weights_keys = tied_frequencies(config.num_hidden_layers)
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Module:
        """The table of words."""
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Another table of words."""
        self.embeddings.word_embeddings = value  # type: ignore[assignment]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """Token ids of shape (B, L), L at most the window, to hidden states (B, L, H) and the pooled output (B, H).

        ``attention_mask`` matters to pooling by the mean only, or where pads are not read.
        Raises LocoError for more tokens than the window.
        """
        every: list[Tensor] | None = [] if _asked(output_hidden_states, self.config.output_hidden_states) else None
        hidden = self.encoder(
            self._embedded(input_ids, token_type_ids, inputs_embeds), every, self._read(attention_mask)
        )
        pooled = None
        if self.pooler is not None:
            pooled = self.pooler(masked_mean(hidden, attention_mask) if self.config.pool_all else hidden[:, 0])
        output = BaseModelOutputWithPooling(
            last_hidden_state=hidden, pooler_output=pooled, hidden_states=None if every is None else tuple(every)
        )
        return output if _asked(return_dict, self.config.return_dict) else output.to_tuple()

    def embed(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """The pooled output alone, shape (B, H): a text's embedding, not normalised, to be compared by cosine.

        The same as :meth:`forward`'s, at less cost where pooling takes position 0.
        """
        if self.pooler is None:
            raise LocoError(
                "This M2-BERT has no pooling layer, so it makes no embeddings: load one with pooler weights."
            )
        x, read = self._embedded(input_ids, token_type_ids, None), self._read(attention_mask)
        if self.config.pool_all:
            pooled = masked_mean(self.encoder(x, mask=read), attention_mask)
        else:
            pooled = self.encoder.first(x, read)
        embedding: Tensor = self.pooler(pooled)
        return embedding

    def _read(self, attention_mask: Tensor | None) -> Tensor | None:
        """What the layers are told of pads: nothing where there are none, or where they are text like any other."""
        if attention_mask is None or self.config.pad_to_window or bool(attention_mask.all()):
            return None
        return attention_mask

    def _embedded(
        self, input_ids: Tensor | None, token_type_ids: Tensor | None, inputs_embeds: Tensor | None
    ) -> Tensor:
        given = input_ids if inputs_embeds is None else inputs_embeds
        if given is None or (input_ids is not None and inputs_embeds is not None):
            raise ValueError("give either input_ids or inputs_embeds")
        window = self.config.max_position_embeddings
        if not 1 <= given.shape[1] <= window:
            raise LocoError(
                f"This M2-BERT reads 1 to {window} tokens at once, not {given.shape[1]}: cut the text first."
            )
        embedded: Tensor = self.embeddings(input_ids, token_type_ids, inputs_embeds)
        return embedded


class M2BertPredictionTransform(nn.Module):
    """LayerNorm(gelu(T x + t)), with an eps of 1e-12 whatever the configuration says; SPEC 1.6."""

    def __init__(self, config: M2BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        """Hidden states of shape (..., H) to the same."""
        transformed: Tensor = self.LayerNorm(gelu(self.dense(x)))
        return transformed


class M2BertPredictions(nn.Module):
    """logits = E LayerNorm(gelu(T x + t)) + c, E being the table of words itself; SPEC 1.6."""

    def __init__(self, config: M2BertConfig) -> None:
        super().__init__()
        self.transform = M2BertPredictionTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        """Hidden states of shape (..., H) to logits of shape (..., V)."""
        logits: Tensor = self.decoder(self.transform(x))
        return logits


class M2BertHead(nn.Module):
    """Holds the predictions under the name that checkpoints have for them."""

    def __init__(self, config: M2BertConfig) -> None:
        super().__init__()
        self.predictions = M2BertPredictions(config)


class M2BertForMaskedLM(M2BertPreTrainedModel):
    """The encoder without pooler and with the head it was pretrained with."""

    def __init__(self, config: M2BertConfig) -> None:
        super().__init__(config)
        self.bert = M2BertModel(config, add_pooling_layer=False)
        self.cls = M2BertHead(config)
        self._tied_weights_keys = {"cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight"}
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Module:
        """The table of words."""
        return self.bert.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Another table of words."""
        self.bert.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """What turns hidden states into logits; its matrix is the table of words."""
        return self.cls.predictions.decoder

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Another such layer."""
        self.cls.predictions.decoder = new_embeddings  # type: ignore[assignment]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MaskedLMOutput | tuple[Any, ...]:
        """Token ids of shape (B, L) to logits (B, L, V), and with labels of shape (B, L) to a loss.

        The loss is the mean cross entropy over the positions whose label is above 0: -100 and [PAD] do not count, and
        without any that does it is 0. In training, logits are made for those positions alone, shape (positions, V).
        """
        encoded = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            inputs_embeds,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        hidden, loss = encoded.last_hidden_state, None
        if labels is None:
            logits = self.cls.predictions(hidden)
        else:
            counted = labels > 0
            logits = self.cls.predictions(hidden[counted] if self.training else hidden)
            predicted = logits if self.training else logits[counted]
            loss = cross_entropy(predicted.float(), labels[counted], reduction="sum") / counted.sum().clamp(min=1)
        output = MaskedLMOutput(loss=loss, logits=logits, hidden_states=encoded.hidden_states)
        return output if _asked(return_dict, self.config.return_dict) else output.to_tuple()


def _asked(argument: bool | None, configured: bool | None) -> bool:
    return bool(configured if argument is None else argument)
