"""Packages that a process finds as little as if they were not installed."""

from importlib.machinery import PathFinder


def hide(*packages: str) -> None:
    find_spec = PathFinder.find_spec

    def find_others(name, path=None, target=None):
        return None if name.partition(".")[0] in packages else find_spec(name, path, target)

    PathFinder.find_spec = find_others
