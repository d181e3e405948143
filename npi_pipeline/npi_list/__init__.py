"""Reading the NPI list: from the bytes of the day's object to its distinct NPIs.

    text      bytes to text: encoding, line ends, what is no text at all
    dialect   what separates the cells, found from many lines
    records   text to records of cells: quotes are read before lines are cut, and a stray one swallows no line
    column    which record is the header, and which column holds the NPIs
    cells     what in a cell is the NPI
    parser    all of it: the distinct NPIs, and what was not clear

Not here: where the object is read (``source``) and kept (``kept_list``).
"""

from npi_pipeline.npi_list.parser import PARSER_VERSION, SCHEMA, ListLayout, NpiList, parse_npi_list
from npi_pipeline.npi_list.text import ListUnreadableError

__all__ = ["PARSER_VERSION", "SCHEMA", "ListLayout", "ListUnreadableError", "NpiList", "parse_npi_list"]
