"""Ids of containers, and names for those that were given none: an adjective and somebody who is remembered."""

from __future__ import annotations

import os

_ADJECTIVES = """
amber ample astute blithe bold brisk calm candid cheery civil clever cosy crisp curious daring deft eager earnest
easy elated fair famous fond frank frugal gentle glad golden good grand happy hardy honest humble jolly keen kind
lively loyal lucid lucky mellow merry mild modest neat nimble noble patient placid plucky polite prompt proud quick
quiet rapid ready robust serene sharp silent sincere sober steady stoic strong subtle sunny swift tender tidy
tranquil trusty upbeat valiant vivid warm wise witty young zealous
"""
_SURNAMES = """
abel agnesi alhazen archimedes avicenna babbage banach bell bernoulli bohr boole borg bose brahe cantor carson
cauchy cerf clarke conway copernicus cray curie darwin diffie dijkstra dirac easley einstein engelbart erdos euclid
euler faraday fermat fermi feynman fourier franklin galileo galois gauss germain goodall hamilton hawking heisenberg
hertz hilbert hodgkin hooke hopper hypatia jackson johnson kahan keller kepler khayyam knuth kovalevskaya lamarr
lamport laplace leavitt leibniz liskov lovelace lumiere mandelbrot maxwell mcclintock meitner mendel mestorf
mirzakhani morse napier nash neumann newton nobel noether pascal pasteur payne perlman poincare ptolemy ramanujan
ride ritchie rubin shannon shaw snyder stonebraker swartz tesla thompson torvalds turing vaughan volta wiles wozniak
wright yalow yonath zhukovsky
"""


def new_id() -> str:
    """The id of a container to come: 64 hex digits that are no decimal number in the first twelve."""
    while True:
        container_id = os.urandom(32).hex()
        if not container_id[:12].isdigit():
            return container_id


def generate(attempt: int = 0) -> str:
    """A random name. From the third attempt on a number follows, so that a full house still finds one."""
    adjectives, surnames = _ADJECTIVES.split(), _SURNAMES.split()
    number = int.from_bytes(os.urandom(8), "little")
    number, adjective = divmod(number, len(adjectives))
    number, surname = divmod(number, len(surnames))
    name = f"{adjectives[adjective]}_{surnames[surname]}"
    return name if attempt < 2 else f"{name}{number % 10 ** min(attempt, 6)}"
