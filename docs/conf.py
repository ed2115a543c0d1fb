"""The documentation site: ``python -m sphinx -W --keep-going -b html docs OUT``. Nothing is fetched."""

import sys
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "trim-pomdp"
author = "the trim-pomdp authors"
release = version = version("trim-pomdp")
copyright = author  # Sphinx names it so

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "command_line",
    "mathml",
    "names",
    "pages",
]
exclude_patterns = ["_ext", "_build"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]  # GitHub's way to write display mathematics
myst_heading_anchors = 4

# Docstrings are numpydoc. What stands in single backticks in them is a name: `names` finds what it links to.
default_role = "py:obj"
napoleon_google_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]  # as parameters: several names may share a line
napoleon_preprocess_types = True  # types link
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
add_module_names = False
autosummary_generate = False

html_math_renderer = "mathml"
html_theme = "furo"
html_title = "trim-pomdp"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
