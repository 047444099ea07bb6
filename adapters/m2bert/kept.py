"""What is made of a module's weights once, and made anew when one of them changes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, Self, TypeVar, cast

from torch import Tensor, nn

T = TypeVar("T")


class Keeping(nn.Module):
    """Keeps what was made of its weights until one of them changes, is replaced, moved or cast, or trained.

    Parts that keep for themselves look after their own weights. Weights written through ``.data`` change unseen: call
    :meth:`forget` then.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[str, tuple[Hashable, Any]] = {}
        self._watch: _Watch | None = None

    def kept(self, what: str, argument: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gives, kept for the last argument that it was asked for with."""
        if self._watch is None or self._watch.changed():
            self.forget()
            watch = _Watch(self)
            if not watch.tells:
                return make()
            self._watch = watch
        kept = self._kept.get(what)
        if kept is None or kept[0] != argument:
            self._kept.pop(what, None)
            kept = self._kept[what] = argument, make()
        return cast(T, kept[1])

    def forget(self) -> None:
        """Make everything anew from the weights at the next call."""
        self._kept.clear()
        self._watch = None

    def train(self, mode: bool = True) -> Self:
        """As for every module; what was kept is dropped."""
        self.forget()
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.forget()  # a weight moved or cast may stand where the old one stood
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}, "_watch": None}  # a copy makes its own


class _Watch:
    """Tells whether a module still has the same parts and weights, and these the same values.

    It is asked before every call, with the processor's caches full of other things, so it reads as little memory as it
    can: not the modules, only the dictionaries in which they have what they have.
    """

    def __init__(self, module: nn.Module) -> None:
        every = {id(part): part for part in _parts(module)}.values()
        places = (place for part in every for place in (part._modules, part._parameters, part._buffers))
        self._places: list[dict[str, Any]] = [place for place in places if place]
        self._held = [value for place in self._places for value in place.values()]  # held, so that no id comes again
        self._ids = [id(value) for value in self._held]
        self._tensors = list({id(value): value for value in self._held if isinstance(value, Tensor)}.values())
        self.tells = not any(tensor.is_inference() for tensor in self._tensors)  # these do not say when they change
        self._addresses = [tensor.data_ptr() for tensor in self._tensors]
        self._versions = [tensor._version for tensor in self._tensors] if self.tells else []

    def changed(self) -> bool:
        """Whether a part, a weight or a value has changed since this was made."""
        return (
            [id(value) for place in self._places for value in place.values()] != self._ids
            or [tensor.data_ptr() for tensor in self._tensors] != self._addresses
            or [tensor._version for tensor in self._tensors] != self._versions
        )


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """A module and its parts, but for those that keep for themselves."""
    yield module
    for child in module.children():
        if not isinstance(child, Keeping):
            yield from _parts(child)
