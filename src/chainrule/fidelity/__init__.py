"""How much drawn rows are like real ones: margins, associations, copies, and what can be learnt from them."""

from __future__ import annotations

from chainrule.fidelity.core import Fidelity, RealRows, Resemblance

__all__ = ["Fidelity", "RealRows", "Resemblance"]
