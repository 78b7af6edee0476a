"""The bundled tiny model: how it is made, measured and checked. No product code imports it."""
