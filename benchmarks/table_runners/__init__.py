"""One script per estimator of tables, run by the Python of the environment that has its library.

They import that library and `protocol`, which needs none; chainrule is there for `ours` only.
"""
