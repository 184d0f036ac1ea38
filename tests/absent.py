"""A process that finds some of the installed packages only."""

from importlib.machinery import PathFinder


def keep_only(*packages: str) -> None:
    """From now on, find no installed package but these."""
    find_spec = PathFinder.find_spec

    def find(name, path=None, target=None):
        spec = find_spec(name, path, target)
        places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or [])]
        installed = any("site-packages" in place for place in places)
        return None if installed and name.partition(".")[0] not in packages else spec

    PathFinder.find_spec = find


def hide(*packages: str) -> None:
    """From now on, do not find these packages."""
    find_spec = PathFinder.find_spec

    def find(name, path=None, target=None):
        return None if name.partition(".")[0] in packages else find_spec(name, path, target)

    PathFinder.find_spec = find
