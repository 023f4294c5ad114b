"""The ordered stop, and dynamic supervisors, whose children stop together."""

from typing import Literal

import attrs

from tests.otp.table import (
    RESTARTS,
    Child,
    Differs,
    Family,
    Restart,
    Scenario,
    Step,
    kids,
)

# --- The ordered stop ---------------------------------------------------------

STOPPING = [
    Scenario(
        "stop: in reverse start order",
        Family(kids("abcd")),
        [],
    ),
    Scenario(
        "stop: a child that hangs is killed after its time, the others wait",
        Family(
            (
                Child("a"),
                Child("b", at_stop="hangs", shutdown=0.5),
                Child("c", at_stop="hangs", shutdown=1.0),
            )
        ),
        [["timed", ["shutdown"]]],
    ),
    Scenario(
        "stop: a child that fails as it stops does not hinder the others",
        Family((Child("a"), Child("b", at_stop="fails"), Child("c"))),
        [],
    ),
    Scenario(
        "stop: those that have ended are left out",
        Family((Child("a"), Child("b", "transient"), Child("c", "temporary"))),
        [["exit", "b", "normal"], ["exit", "c", "failed"]],
    ),
    Scenario(
        "stop: giving up kills a child that hangs",
        Family((Child("a", at_stop="hangs", shutdown=0.5), Child("b")), intensity=0),
        [["timed", ["exit", "b", "failed"]]],
    ),
]

# --- Dynamic supervisors (simple_one_for_one) ---------------------------------


def dynamic(
    restart: Restart = "transient", intensity: int = 3, *, hangs: bool = False
) -> Family:
    at_stop: Literal["obeys", "hangs"] = "hangs" if hangs else "obeys"
    template = Child("template", restart, at_stop=at_stop, shutdown=0.5)
    return Family((template,), intensity=intensity, dynamic=True)


def started(names: str, family: Family, fails: tuple[int, ...] = ()) -> list[Step]:
    (template,) = family.children
    return [["start", attrs.evolve(template, name=name, fails=fails)] for name in names]


NO_TEMPLATE = (
    "its children come and go, each with a spec of its own: there is no template that "
    "counts as the only one."
)


DYNAMIC = [
    *(
        Scenario(
            f"dynamic: a {restart} child that ends by {how}",
            dynamic(restart),
            [*started("abc", dynamic(restart)), ["exit", "b", how], ["which", "top"]],
        )
        for restart in RESTARTS
        for how in ("normal", "failed")
    ),
    Scenario(
        "dynamic: they stop together",
        dynamic(),
        started("abcd", dynamic()),
    ),
    Scenario(
        "dynamic: those that hang are killed under one limit",
        dynamic(hangs=True),
        [*started("abcd", dynamic(hangs=True)), ["timed", ["shutdown"]]],
    ),
    Scenario(
        "dynamic: a terminated child is forgotten",
        dynamic("permanent"),
        [
            *started("ab", dynamic("permanent")),
            ["terminate", "a"],
            ["which", "top"],
            ["count", "top"],
        ],
    ),
    Scenario(
        "dynamic: a failed start is forgotten",
        dynamic(),
        [*started("a", dynamic()), *started("b", dynamic(), (1,)), ["which", "top"]],
    ),
    Scenario(
        "dynamic: a failed restart counts and is tried again",
        dynamic(),
        [
            *started("a", dynamic()),
            *started("b", dynamic(), (2, 3)),
            ["exit", "b", "failed"],
            ["which", "top"],
            ["count", "top"],
        ],
        Differs(
            NO_TEMPLATE,
            {
                5: [
                    [
                        "count",
                        "top",
                        [
                            ["active", 2],
                            ["specs", 2],
                            ["supervisors", 0],
                            ["workers", 2],
                        ],
                    ]
                ]
            },
        ),
    ),
    Scenario(
        "dynamic: all children share one window",
        dynamic(intensity=1),
        [
            *started("abc", dynamic(intensity=1)),
            ["exit", "a", "failed"],
            ["exit", "b", "failed"],
        ],
    ),
]
