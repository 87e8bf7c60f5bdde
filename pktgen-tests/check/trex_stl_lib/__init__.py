"""A stand-in for the Python library of TRex, as far as our profile uses it: see api.py."""
