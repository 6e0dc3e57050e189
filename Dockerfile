# One image for the API, the worker, beat and the migrations: docker-compose.yml has their commands.
# Wheels only, each with its hash from the lock file; nothing is compiled.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# The dependencies first, since they seldom change, in a virtual environment without pip.
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv install --require-hashes --only-binary :all: -r requirements.lock

# The build tool, with its hash from the other lock file; it stays in this stage.
COPY requirements-dev.lock ./
RUN awk '/^[^ #]/ { wanted = /^setuptools==/ } wanted' requirements-dev.lock > build.lock \
    && pip install --require-hashes --only-binary :all: -r build.lock

COPY pyproject.toml README.md celeryconfig.py ./
COPY clients/python clients/python
COPY schemas schemas
COPY db db
COPY worker worker
RUN pip wheel --no-deps --no-build-isolation --wheel-dir wheels ./clients/python . \
    && pip --python /opt/venv install --no-deps wheels/*.whl


FROM python:3.13-slim
ENV PATH="/opt/venv/bin:$PATH" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LOG_FORMAT=json

# A user of its own with a fixed number, without a home, a shell or anything to write to.
RUN groupadd --gid 10001 publisher \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin publisher

COPY --from=build /opt/venv /opt/venv
WORKDIR /srv
USER 10001:10001
EXPOSE 8000

CMD ["uvicorn", "worker.api:app", "--host", "0.0.0.0", "--port", "8000", \
     "--no-access-log", "--ws", "none", "--timeout-graceful-shutdown", "10"]
