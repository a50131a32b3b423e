"""Complete studies of chainrule's models, which `chainrule experiment` finds by their entry points."""
