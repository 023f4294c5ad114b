"""Small programs with a known bug, each beside a correct twin of nearly its text."""

from tests.zoo import agreement, failures, order, replicas, state, waiting
from tests.zoo.animal import Animal as Animal

ZOO: list[Animal] = [
    *state.ANIMALS,
    *waiting.ANIMALS,
    *order.ANIMALS,
    *failures.ANIMALS,
    *replicas.ANIMALS,
    *agreement.ANIMALS,
]
