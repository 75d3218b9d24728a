"""The running router: public files are thin LiteLLM adapters, underscore files plain functions."""
