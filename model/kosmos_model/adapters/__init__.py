"""The bundled models as the harness calls them."""
