"""Results as data, and the pages, tables and figures that are made of them."""
