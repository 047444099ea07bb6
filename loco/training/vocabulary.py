"""A WordPiece vocabulary of one's own, as BERT has it, from a corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from loco.errors import LocoError
from loco.files import write_atomically
from loco.training.corpora import Corpus, documents

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

_PREFIX = "##"
_MOST_SIGNS = 1000  # of an alphabet, as BERT's trainer has it; a word with any other is [UNK]
_MOST_CHARACTERS = 200_000_000  # of all corpora together; more changes no vocabulary that anybody would notice


def train_wordpiece(corpora: Sequence[Corpus], words: int, target: Path) -> None:
    """Write a ``tokenizer.json`` with ``words`` tokens: lower case, cut at white space and punctuation, WordPiece.

    Each corpus gives as many characters as its weight says, of 200 million in all. The same texts give the same file.
    Raises LocoError for too few words, and for corpora that do not have so many tokens in them.
    """
    from tokenizers import Tokenizer, decoders, models, processors, trainers

    from loco.tokens.reference import reference_tokenizer

    bert = reference_tokenizer()
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer, tokenizer.pre_tokenizer = bert.normalizer, bert.pre_tokenizer
    # The library's own alphabet has its signs in the order of a hash table, another in every run, and ties go by it.
    raw: Counter[str] = Counter()
    for text in _texts(corpora):
        raw.update(text)
    signs: Counter[str] = Counter()
    for sign, count in raw.items():
        signs.update(dict.fromkeys(tokenizer.normalizer.normalize_str(sign), count))
    by_count = sorted((sign for sign in signs if not sign.isspace()), key=lambda sign: (-signs[sign], sign))
    alphabet = sorted(by_count[:_MOST_SIGNS])
    inner = [_PREFIX + sign for sign in alphabet if len(tokenizer.pre_tokenizer.pre_tokenize_str(f"a{sign}a")) == 1]
    known = [*SPECIAL, *alphabet, *inner]
    if words <= len(known):
        raise LocoError(f"--vocabulary {words} is too small for an alphabet of {len(alphabet)}: give {2 * len(known)}.")
    trainer = trainers.WordPieceTrainer(vocab_size=words, special_tokens=known, limit_alphabet=0, show_progress=False)
    tokenizer.train_from_iterator(_texts(corpora), trainer)
    vocabulary = tokenizer.get_vocab()
    if len(vocabulary) < words:
        raise LocoError(
            f"The corpora have no more than {len(vocabulary):,} tokens in them, not {words:,}: take a smaller"
            " --vocabulary."
        )
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106  # whose alphabet is not special
    made.normalizer, made.pre_tokenizer = bert.normalizer, bert.pre_tokenizer
    made.add_special_tokens(list(SPECIAL))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    made.decoder = decoders.WordPiece(prefix=_PREFIX, cleanup=True)
    write_atomically(target, made.to_str().encode())


def _texts(corpora: Sequence[Corpus]) -> Iterator[str]:
    """Of each corpus, its share of the most characters that are read."""
    total = sum(corpus.weight for corpus in corpora)
    for corpus in corpora:
        room = int(_MOST_CHARACTERS * corpus.weight / total)
        for text in (text for shard in corpus.shards for text in documents(shard.path())):
            yield text[:room]
            room -= len(text)
            if room <= 0:
                break
