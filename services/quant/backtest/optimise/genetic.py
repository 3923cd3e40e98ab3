"""The genetic search, with deap: generations of places in a grid, each place run once."""
# ruff: noqa: S311 - a search is to be repeatable, not secret

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from services.quant.backtest.job import BacktestError
from services.quant.backtest.optimise.space import Space

Place: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Genetic:
    """Settings of a genetic search; population, generations and crossover are vnpy's. The same seed runs the same
    points."""

    population: int = 100
    generations: int = 30
    crossover: float = 0.95
    mutation: float = 0.2
    seed: int = 1

    def __post_init__(self) -> None:
        if self.population < 2:
            raise BacktestError(f"population must be 2 or above, not {self.population}", "population")
        if self.generations < 1:
            raise BacktestError(f"generations must be 1 or above, not {self.generations}", "generations")

    def most(self, space: Space) -> int:
        """The most points it runs."""
        return min(space.size, self.population * self.generations)


class GeneticSearch:
    """Asks for places to run, generation after generation, and records their values; the caller runs them.

    A child is never a place that was run before while there are others: small grids are searched through, and end.
    """

    # A step of a mutation is mostly to a neighbour on the grid, and now and then anywhere.
    _FAR = 0.2
    _TRIES = 20

    def __init__(self, space: Space, settings: Genetic) -> None:
        from deap import base, tools

        self._space = space
        self._settings = settings
        self._state = random.Random(settings.seed).getstate()  # nosec B311
        self._seen: set[Place] = set()
        self._parents: list[Any] = []
        self._tools = tools
        fitness = type("Fitness", (base.Fitness,), {"weights": (1.0,)})
        self._individual: Any = type("Individual", (list,), {})
        self._fitness: Any = fitness

    def generations(self) -> Iterator[list[Place]]:
        """The places of each generation, none twice; `record` their values before the next."""
        yield self._new(self._first())
        for _ in range(self._settings.generations - 1):
            places = self._new(self._children())
            if not places:
                return  # the grid has no others
            yield places

    def record(self, values: Mapping[Place, float]) -> None:
        """The values of the last generation; a place without one failed, and has no children."""
        scored = []
        for place, value in sorted(values.items()):
            individual = self._individual(place)
            individual.fitness = self._fitness((value,))
            scored.append(individual)
        # The best of old and new live on, as with vnpy's (μ + λ); ties by place, so that a seed says it all.
        individuals = sorted(self._parents + scored, key=lambda one: (-one.fitness.values[0], list(one)))
        self._parents = self._tools.selBest(individuals, max(2, int(self._settings.population * 0.8)))

    def _new(self, places: list[Place]) -> list[Place]:
        self._seen.update(places)
        return places

    def _first(self) -> list[Place]:
        count = min(self._settings.population, self._space.size)
        with self._random():
            return [self._space.place(number) for number in random.sample(range(self._space.size), count)]  # nosec B311

    def _children(self) -> list[Place]:
        count = min(self._settings.population, self._space.size - len(self._seen))
        chosen: dict[Place, None] = {}
        with self._random():
            while len(chosen) < count:
                child = self._child()
                if child is not None and child not in chosen:
                    chosen[child] = None
                    continue
                # Around the parents all is known: somebody from elsewhere.
                newcomer = self._newcomer(chosen)
                chosen[newcomer] = None
        return list(chosen)

    def _child(self) -> Place | None:
        if len(self._parents) < 2:
            return None
        for _ in range(self._TRIES):
            mother, father = (self._individual(one) for one in self._tools.selTournament(self._parents, 2, 3))
            if random.random() < self._settings.crossover:  # nosec B311
                self._tools.cxUniform(mother, father, 0.5)
            if random.random() < self._settings.mutation or tuple(mother) in self._seen:  # nosec B311
                self._mutate(mother)
            if tuple(mother) not in self._seen:
                return tuple(mother)
        return None

    def _mutate(self, individual: list[int]) -> None:
        """Move at least one parameter, by steps of its grid."""
        shape = self._space.shape
        free = [axis for axis, length in enumerate(shape) if length > 1]
        moved = [axis for axis in free if random.random() < 1 / len(free)] or [random.choice(free)]  # nosec B311
        for axis in moved:
            if random.random() < self._FAR:  # nosec B311
                individual[axis] = random.randrange(shape[axis])  # nosec B311
            else:
                step = random.choice((-2, -1, 1, 2))  # nosec B311
                individual[axis] = min(max(individual[axis] + step, 0), shape[axis] - 1)

    def _newcomer(self, chosen: Mapping[Place, None]) -> Place:
        for _ in range(self._TRIES):
            place = self._space.place(random.randrange(self._space.size))  # nosec B311
            if place not in self._seen and place not in chosen:
                return place
        return next(place for place in self._space.places() if place not in self._seen and place not in chosen)

    @contextmanager
    def _random(self) -> Iterator[None]:
        """deap draws from the module `random`: ours while it does, and nobody notices."""
        before = random.getstate()
        random.setstate(self._state)
        try:
            yield
        finally:
            self._state = random.getstate()
            random.setstate(before)
