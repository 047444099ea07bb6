"""Figures as SVG documents: no scripts, no fonts from elsewhere, readable on light and dark pages and without colour.

Every function returns the document as a string; values that are not finite are a ValueError, for a figure that leaves
something out without saying so is wrong.
"""

from loco.figures.curve import Curve, curves
from loco.figures.heat import heat_map
from loco.figures.points import Point, scatter

__all__ = ["Curve", "Point", "curves", "heat_map", "scatter"]
