"""Complete studies: data in, fitted models, figures and a report out."""

from __future__ import annotations

from chainrule.experiments.compare import compare

__all__ = ["compare"]
