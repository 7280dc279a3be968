# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Serves a checkpoint, documented at /docs: `MODEL_DIR=exps/seed1 uvicorn --app-dir examples server:app`."""

import asyncio
import os
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, StrictFloat, StrictInt, StrictStr

from bert4rec_hf import LivePipeline


MAX_BYTES = 2**20
Item = Annotated[StrictInt | StrictStr, Body()]
Time = StrictInt | StrictFloat | StrictStr | None  # seconds since 1970, or "2022-04-27T15:56:08+09:00"
K = Annotated[int, Field(ge=1, le=1000), Body()]


class User(BaseModel, extra="forbid"):
    history: Annotated[list[Item], Field(max_length=2000, fail_fast=True)]
    profile: dict[str, StrictStr | StrictInt | float | None] = {}
    times: list[Time] | None = None
    request_time: Time = None


class Wishes(User):
    candidates: list[Item] | None = None
    exclude: list[Item] = []
    k: K = 10
    exclude_seen: bool = False
    max_per: dict[str, K] = {}
    diversity: float = 0.0


@asynccontextmanager
async def lifespan(app: FastAPI):
    with LivePipeline(os.environ.get("MODEL_DIR", "quickstart/model")) as app.state.live:
        yield


app = FastAPI(title="bert4rec_hf", lifespan=lifespan)


@app.middleware("http")
async def limit_size(request: Request, call_next):
    size = request.headers.get("content-length", "0" if request.method == "GET" else "")
    if not size.isdecimal() or int(size) > MAX_BYTES:
        return JSONResponse({"detail": f"a request tells its length, at most {MAX_BYTES} bytes"}, 413)
    return await call_next(request)


@app.exception_handler(RequestValidationError)
@app.exception_handler(ValueError)
async def refuse(request: Request, error: Exception):
    if isinstance(error, RequestValidationError):
        error = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors()[:3])
    return JSONResponse({"detail": " ".join(str(error).split())[:300]}, 422)


@app.post("/recommend")
async def recommend(wishes: Wishes):
    settings = wishes.model_dump(include={"k", "exclude_seen", "max_per", "diversity"})
    return await asyncio.wrap_future(app.state.live.submit(wishes.model_dump(exclude={*settings}), **settings))


@app.post("/similar")
def similar(item_id: Item, k: K = 10):
    return app.state.live.pipeline.similar(item_id, k)


@app.post("/explain")
def explain(user: User, item_id: Item):
    return app.state.live.pipeline.explain(user.model_dump(), item_id)


@app.get("/health")
def health():
    return {"items": app.state.live.pipeline.processor.vocab_size - 3}
