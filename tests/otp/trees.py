"""Significant children, and supervisors under supervisors."""

from tests.otp.table import (
    Child,
    Differs,
    Family,
    Restart,
    Scenario,
    Strategy,
    kids,
)

# --- Significant children -----------------------------------------------------


def important(name: str, restart: Restart = "transient") -> Child:
    return Child(name, restart, significant=True)


ANY_HAND = (
    "ref.stop/drain/kill never trigger auto-shutdown (in OTP only terminate_child, by "
    "the supervisor, does not)."
)

SIGNIFICANT = [
    Scenario(
        "any_significant: a normal end of a transient one stops the supervisor",
        Family(
            (Child("a"), important("b"), Child("c")), auto_shutdown="any_significant"
        ),
        [["exit", "b", "normal"]],
    ),
    Scenario(
        "any_significant: a failure of a transient one restarts it",
        Family((Child("a"), important("b")), auto_shutdown="any_significant"),
        [["exit", "b", "failed"], ["which", "top"]],
    ),
    Scenario(
        "any_significant: a failure of a temporary one stops the supervisor",
        Family(
            (Child("a"), important("b", "temporary")), auto_shutdown="any_significant"
        ),
        [["exit", "b", "failed"]],
    ),
    Scenario(
        "any_significant: a normal end of a temporary one stops the supervisor",
        Family(
            (Child("a"), important("b", "temporary")), auto_shutdown="any_significant"
        ),
        [["exit", "b", "normal"]],
    ),
    Scenario(
        "any_significant: an insignificant child may end",
        Family(
            (Child("a", "transient"), important("b")), auto_shutdown="any_significant"
        ),
        [["exit", "a", "normal"], ["which", "top"]],
    ),
    Scenario(
        "any_significant: terminate_child does not trigger it",
        Family((Child("a"), important("b")), auto_shutdown="any_significant"),
        [["terminate", "b"], ["which", "top"]],
    ),
    Scenario(
        "any_significant: a sweep does not trigger it",
        Family(
            (Child("a"), important("b", "temporary"), important("c")),
            "one_for_all",
            auto_shutdown="any_significant",
        ),
        [["exit", "a", "failed"], ["which", "top"]],
    ),
    Scenario(
        "any_significant: a stop by somebody else",
        Family((Child("a"), important("b")), auto_shutdown="any_significant"),
        [["stop", "b"], ["which", "top"]],
        Differs(
            ANY_HAND,
            {
                1: [["stop", "b", "shutdown"]],
                2: [["which", "top", [["a", "running"], ["b", "not_running"]]]],
                3: [["stop", "a", "shutdown"], ["stop", "top", "shutdown"]],
            },
        ),
    ),
    Scenario(
        "any_significant: an end that comes before a failure is answered first",
        Family(
            (important("a"), Child("b"), Child("c")),
            "rest_for_one",
            auto_shutdown="any_significant",
        ),
        [["together", ["exit", "a", "normal"], ["exit", "b", "failed"]]],
    ),
    Scenario(
        "any_significant: a failure that comes before an end is answered first",
        Family(
            (important("a"), Child("b"), Child("c")),
            "rest_for_one",
            auto_shutdown="any_significant",
        ),
        [["together", ["exit", "b", "failed"], ["exit", "a", "normal"]]],
    ),
    Scenario(
        "all_significant: a failure over the limit that comes before the last end",
        Family(
            (Child("a"), Child("b"), important("c", "temporary")),
            "rest_for_one",
            intensity=0,
            auto_shutdown="all_significant",
        ),
        [["together", ["exit", "a", "normal"], ["exit", "c", "failed"]]],
    ),
    Scenario(
        "all_significant: the end of the last one stops the supervisor",
        Family(
            (Child("a"), important("b"), important("c", "temporary")),
            auto_shutdown="all_significant",
        ),
        [["exit", "b", "normal"], ["which", "top"], ["exit", "c", "failed"]],
    ),
    Scenario(
        "all_significant: one terminated by hand has ended too",
        Family(
            (Child("a"), important("b"), important("c")),
            auto_shutdown="all_significant",
        ),
        [["terminate", "b"], ["which", "top"], ["exit", "c", "normal"]],
    ),
    Scenario(
        "all_significant: one that was started again runs again",
        Family(
            (Child("a"), important("b"), important("c")),
            auto_shutdown="all_significant",
        ),
        [
            ["exit", "b", "normal"],
            ["restart", "b"],
            ["exit", "c", "normal"],
            ["exit", "b", "shutdown"],
        ],
    ),
    Scenario(
        "significant: a permanent child cannot be",
        Family(
            (Child("a"), important("b", "permanent")), auto_shutdown="any_significant"
        ),
        [],
    ),
    Scenario(
        "significant: not under a supervisor that never shuts down by itself",
        Family((Child("a"), important("b"))),
        [],
    ),
    Scenario(
        "significant: start_child refuses one that is permanent",
        Family(kids("a"), auto_shutdown="any_significant"),
        [["start", important("b", "permanent")], ["which", "top"]],
    ),
]

# --- Supervisors under supervisors --------------------------------------------


def inner(
    children: tuple[Child, ...],
    restart: Restart = "permanent",
    strategy: Strategy = "one_for_one",
    intensity: int = 0,
) -> Child:
    return Child("sub", restart, family=Family(children, strategy, intensity))


ABNORMAL = (
    "strictly more than the limit gives up with RestartLimit (abnormal, unlike OTP, "
    "where a transient supervisor that gave up counts as ended normally)."
)

NO_NESTED_SPEC = (
    "a ChildSpec holds an actor; a supervisor below another is started by "
    "spawn_supervisor() on its ref. If it cannot start, its spawner gets StartFailed, "
    "and stops what it had started before."
)

NESTED = [
    Scenario(
        "nested: they start depth first and stop in reverse",
        Family((Child("a"), inner(kids("xy")), Child("c"))),
        [["which", "top"], ["count", "top"], ["which", "sub"], ["count", "sub"]],
    ),
    Scenario(
        "nested: a restart inside is the business of the inner supervisor",
        Family((Child("a"), inner(kids("xy"), intensity=1)), intensity=0),
        [["exit", "x", "failed"], ["which", "top"], ["which", "sub"]],
    ),
    Scenario(
        "nested: a permanent supervisor that gives up is started again",
        Family((Child("a"), inner(kids("xy")), Child("c"))),
        [["exit", "x", "failed"], ["which", "top"], ["which", "sub"]],
    ),
    Scenario(
        "nested: a transient supervisor that gives up",
        Family((Child("a"), inner(kids("xy"), "transient"))),
        [["exit", "x", "failed"], ["which", "top"]],
        Differs(
            ABNORMAL,
            {
                1: [
                    ["stop", "x", "failed"],
                    ["stop", "y", "shutdown"],
                    ["stop", "sub", "gave_up"],
                    ["start", "x"],
                    ["start", "y"],
                    ["start", "sub"],
                ],
                2: [["which", "top", [["a", "running"], ["sub", "running"]]]],
                3: [
                    ["stop", "y", "shutdown"],
                    ["stop", "x", "shutdown"],
                    ["stop", "sub", "shutdown"],
                    ["stop", "a", "shutdown"],
                    ["stop", "top", "shutdown"],
                ],
            },
        ),
    ),
    Scenario(
        "nested: a temporary supervisor that gives up is forgotten",
        Family((Child("a"), inner(kids("xy"), "temporary"))),
        [["exit", "x", "failed"], ["which", "top"]],
    ),
    Scenario(
        "nested: giving up goes up the tree",
        Family((Child("a"), inner(kids("xy"))), intensity=0),
        [["exit", "x", "failed"]],
    ),
    Scenario(
        "nested: a supervisor that gives up sweeps its siblings",
        Family((Child("a"), inner(kids("xy")), Child("c")), "one_for_all"),
        [["exit", "y", "failed"], ["which", "top"]],
    ),
    Scenario(
        "nested: a supervisor is swept with its children",
        Family((Child("a"), inner(kids("xy")), Child("c")), "rest_for_one"),
        [["exit", "a", "failed"], ["which", "sub"]],
    ),
    Scenario(
        "nested: what is swept comes back with all children it was made with",
        Family((Child("a"), inner(kids("xy", "transient"))), "one_for_all"),
        [["exit", "x", "normal"], ["exit", "a", "failed"], ["which", "sub"]],
    ),
    Scenario(
        "nested: a supervisor that cannot start at first",
        Family((Child("a"), inner((Child("x"), Child("y", fails=(1,)))))),
        [],
        Differs(
            NO_NESTED_SPEC,
            {
                0: [
                    ["start", "a"],
                    ["start", "top"],
                    ["start", "x"],
                    ["start_failed", "y"],
                    ["stop", "x", "shutdown"],
                    ["start_failed", "sub"],
                    ["stop", "a", "shutdown"],
                    ["stop", "top", "shutdown"],
                ]
            },
        ),
    ),
    Scenario(
        "nested: a supervisor whose restart fails is tried again",
        Family((Child("a"), inner((Child("x"), Child("y", fails=(2,)))))),
        [["exit", "x", "failed"], ["which", "top"], ["which", "sub"]],
    ),
    Scenario(
        "nested: terminate_child and restart_child of a supervisor",
        Family((Child("a"), inner(kids("xy")))),
        [["terminate", "sub"], ["which", "top"], ["restart", "sub"], ["count", "top"]],
    ),
    Scenario(
        "nested: the window of a supervisor that was started again is empty",
        Family((Child("a"), inner(kids("x"), intensity=1))),
        [
            ["exit", "x", "failed"],
            ["exit", "x", "failed"],
            ["exit", "x", "failed"],
            ["which", "top"],
        ],
    ),
    Scenario(
        "nested: auto-shutdown of a transient supervisor is a normal end",
        Family(
            (
                Child("a"),
                Child(
                    "sub",
                    "transient",
                    family=Family(
                        (important("x"), Child("y")), auto_shutdown="any_significant"
                    ),
                ),
            )
        ),
        [["exit", "x", "normal"], ["which", "top"]],
    ),
    Scenario(
        "nested: auto-shutdown of a permanent supervisor is followed by a restart",
        Family(
            (
                Child("a"),
                Child(
                    "sub",
                    family=Family(
                        (important("x"), Child("y")), auto_shutdown="any_significant"
                    ),
                ),
            )
        ),
        [["exit", "x", "normal"], ["which", "top"]],
    ),
    Scenario(
        "nested: auto-shutdown of a significant supervisor goes up the tree",
        Family(
            (
                Child("a"),
                Child(
                    "sub",
                    "transient",
                    significant=True,
                    family=Family(
                        (important("x"), Child("y")), auto_shutdown="any_significant"
                    ),
                ),
            ),
            auto_shutdown="any_significant",
        ),
        [["exit", "x", "normal"]],
    ),
]
