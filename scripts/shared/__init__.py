"""Code that scripts of several topics use."""
