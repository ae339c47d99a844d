"""Settings of the site: Markdown, and the reference from docstrings. ``make docs`` builds it."""

project = "gssm_cube"
author = "The gssm_cube developers"
copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "gssm_cube"
html_show_sphinx = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say more: dims and units
napoleon_google_docstring = False
napoleon_use_rtype = False
