"""Lightning modules and data modules: the only part of the package that imports Lightning."""
