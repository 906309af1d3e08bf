"""`stream-reco models`: the models that can be trained and served."""

from __future__ import annotations

from stream_reco.terminal.printing import say


def models() -> None:
    """List the models: what each is, what it reads of a request, and its tables. Choose one with [model] name."""
    import inspect
    import sys

    from stream_reco.model.registry import DEFAULT, MODELS, build_model
    from stream_reco.model.spec import Retrieves

    for name in MODELS:
        model = build_model(name)
        about = (inspect.getdoc(sys.modules[type(model).__module__]) or "").partition("\n")[0]
        tables = ", ".join(f"{table.name} ({table.dim})" for table in model.tables) or "none"
        vectors = f"vectors of {model.vector_dim} numbers" if isinstance(model, Retrieves) else "no vectors"
        say(f"{name}{' (default)' if name == DEFAULT else ''}: {about}")
        say(f"  reads {', '.join(sorted(model.needs)) or 'ids alone'}; tables {tables}; retrieves by {vectors}")
