"""Runs made by hand: no library, no search."""

from trio_actors.testing._events import Event, Footprint, Ghost, Kind, Run


def step(
    kind: Kind,
    src: str,
    dst: str,
    label: str = "",
    *,
    sent: int = -1,
    touches: Footprint | None = None,
) -> Event:
    """A step that touches its receiver's turn, unless something else is said."""
    footprint = {("turn", dst): True} if touches is None else touches
    return Event((kind, src, dst), kind, dst, footprint, sent, src, label)


def start(who: str) -> Event:
    return step("start", who, who)


def message(src: str, dst: str, label: str = "", *, sent: int = -1) -> Event:
    return step("message", src, dst, label, sent=sent)


def reply(src: str, dst: str, label: str = "", *, sent: int = -1) -> Event:
    return step("reply", src, dst, label, sent=sent)


def tick(label: str = "", owner: str = "", *, sent: int = -1) -> Event:
    event = step("tick", "", owner, label, sent=sent, touches={("clock", ""): True})
    event.key = ("tick",)
    return event


def run(*trace: Event, ghosts: tuple[Ghost, ...] = ()) -> Run:
    return Run(trace=list(trace), ghosts=list(ghosts), ranks=[0] * len(trace))
