"""What stands at each position before the first layer."""

from __future__ import annotations

from torch import Tensor, nn

from .configuration import M2BertConfig


class M2BertEmbeddings(nn.Module):
    """x0 = Dropout(LayerNorm(word[ids] + type[type ids] + pos[0 ... L - 1])); SPEC 1.1.

    Row 0 of the type table is always added. Positions are learnt and absolute. The row of [PAD] is a word like any
    other: padding takes part in everything that follows.
    """

    def __init__(self, config: M2BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, input_ids: Tensor | None, token_type_ids: Tensor | None = None, inputs_embeds: Tensor | None = None
    ) -> Tensor:
        """Token ids of shape (B, L), or word vectors of shape (B, L, H), to x0 of shape (B, L, H)."""
        summed: Tensor = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        types = self.token_type_embeddings.weight[0]
        if token_type_ids is not None:
            types = self.token_type_embeddings(token_type_ids)
        # One name, so that at a long window no more than two of these sums are in memory.
        summed = summed + types
        summed = summed + self.position_embeddings.weight[: summed.shape[1]]
        embedded: Tensor = self.dropout(self.LayerNorm(summed))
        return embedded
