"""Help in panels: the options of a command under titles, in two columns of plain text.

Typer's own panels spend a third of 80 columns on frames and types, and take brackets for markup.
"""

from typing import Any

from typer.core import TyperCommand

AGE, LOOKS, PHOTOS, SPEED = "What to age", "How it looks", "Which photos", "Speed"
MODEL, RESUMING, MACHINES, SCRIPTS = "Model", "Resuming", "Many machines", "Scripts"


class PanelCommand(TyperCommand):
    """A command that lists its options under their `rich_help_panel`, in the order of its function's parameters."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                name, text = record
                # Of an argument, the type follows its name.
                name = name.split(" ")[0] if param.param_type_name == "argument" else name
                panels.setdefault(getattr(param, "rich_help_panel", None) or SCRIPTS, []).append((name, text))
        for title, rows in panels.items():
            with formatter.section(title):
                formatter.write_dl(rows)
