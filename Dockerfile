# One finished model behind bessemer serve. See docs/serve.md, section 10. Not built where this project is made: there is no engine.
#   docker build --build-arg MODEL=runs/mood/export -t mood .
#   docker run --rm -p 8000:8000 -e BESSEMER_API_KEYS="$(openssl rand -hex 32)" mood
FROM python:3.11-slim

WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY bessemer ./bessemer
RUN pip install --no-cache-dir ".[serve]" && rm -rf /build

# The folder of a finished stage (export, compress): its manifest, its graph, its schema.
ARG MODEL
WORKDIR /srv
COPY ${MODEL} /srv/model

RUN useradd --system --no-create-home bessemer
USER bessemer
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=2s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=2)"]
# Refuses to start without keys (BESSEMER_API_KEYS), because it listens beyond this machine.
CMD ["bessemer", "serve", "model=/srv/model", "--host", "0.0.0.0", "--port", "8000"]
