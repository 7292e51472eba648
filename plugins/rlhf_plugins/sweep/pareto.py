"""What no other point beats in both of two figures."""

from __future__ import annotations

from collections.abc import Mapping


def dominated_by(points: Mapping[str, tuple[float, float]]) -> dict[str, str]:
    """For each point (gain, cost) that is not on the Pareto front, one of the front that beats it.

    A point is beaten by one with no less gain at no more cost, and better in one of the two.
    """
    by_gain = sorted(points, key=lambda name: (-points[name][0], points[name][1]))
    beaten, front = dict[str, str](), list[str]()
    for name in by_gain:
        better = next((other for other in front if _beats(points[other], points[name])), None)
        if better is None:
            front.append(name)
        else:
            beaten[name] = better
    return beaten


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] >= other[0] and one[1] <= other[1] and one != other
