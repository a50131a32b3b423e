"""Complete studies: data in, fitted models, figures and a report out."""
