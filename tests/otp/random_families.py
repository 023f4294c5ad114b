"""Families and scripts by chance: what nobody thought of. The same in every run."""

from random import Random

import attrs

from tests.otp.table import (
    RESTARTS,
    STRATEGIES,
    AutoShutdown,
    Child,
    Family,
    Scenario,
    Step,
)

INTENSITIES = (0, 1, 2, 3, 5, 8)
AUTO_SHUTDOWNS: tuple[AutoShutdown, ...] = (
    "never",
    "never",
    "any_significant",
    "all_significant",
)
HOW = ("failed", "failed", "failed", "normal", "shutdown")


def family(random: Random, names: list[str]) -> Family:
    auto = random.choice(AUTO_SHUTDOWNS)
    children: list[Child] = []
    for name in names:
        restart = random.choice(RESTARTS)
        may_count = auto != "never" and restart != "permanent"
        fails = sorted(random.sample(range(2, 7), random.choice((0, 0, 0, 1, 2))))
        child = Child(
            name,
            restart,
            fails=tuple(fails),
            at_stop="fails" if random.random() < 0.1 else "obeys",
            significant=may_count and random.random() < 0.5,
        )
        children.append(child)
    strategy = random.choice(STRATEGIES)
    return Family(
        tuple(children),
        strategy,
        intensity=random.choice(INTENSITIES),
        auto_shutdown=auto,
    )


def with_inner(random: Random, top: Family) -> Family:
    """Put a supervisor somewhere into *top*.

    Not a transient one, which is started again here, but not in OTP, if it gives up.
    """
    inner = family(random, list("xyz"[: random.randint(1, 3)]))
    sub = Child("sub", random.choice(("permanent", "temporary")), family=inner)
    place = random.randint(0, len(top.children))
    children = (*top.children[:place], sub, *top.children[place:])
    return attrs.evolve(top, children=children)


def step(random: Random, top: Family, names: list[str], workers: list[str]) -> Step:
    """Make a step; an exit of a child that does not run is no step at all."""
    chance = random.random()
    if chance < 0.5:
        return ["exit", random.choice(workers), random.choice(HOW)]
    if chance < 0.62 and top.auto_shutdown == "never":
        # Not with auto-shutdown: who of two is first is a race there.
        chosen = random.sample(top.children, min(len(top.children), 3))
        return [
            "together",
            *(
                ["exit", child.name, random.choice(("failed", "failed", "normal"))]
                for child in chosen
                if child.family is None
            ),
        ]
    if chance < 0.72:
        return ["terminate", random.choice([*names, "z"])]
    if chance < 0.82:
        return ["restart", random.choice(names)]
    if chance < 0.88:
        return ["delete", random.choice(names)]
    taken = [name for name in names if name != "sub"]
    name = random.choice(("k", "l", *taken[:1]))
    fails = random.choice(((), (), (1,), (2,)))
    return ["start", Child(name, random.choice(RESTARTS), fails=fails)]


def by_chance(seed: int) -> Scenario:
    random = Random(seed)
    top = family(random, list("abcde"[: random.randint(1, 5)]))
    if random.random() < 0.35:
        top = with_inner(random, top)
    names = [child.name for child in top.children]
    workers = [
        one.name
        for child in top.children
        for one in (child.family.children if child.family else (child,))
    ]
    script: list[Step] = []
    for _ in range(random.randint(3, 9)):
        script.append(step(random, top, names, workers))
        script.append(["which", "top"])
    script.append(["count", "top"])
    return Scenario(f"by chance: {seed}", top, script)


BY_CHANCE = [by_chance(seed) for seed in range(100)]
