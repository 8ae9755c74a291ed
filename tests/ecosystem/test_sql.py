"""SQLAlchemy's asyncio half, which runs its core in greenlets, on asyncpg and on aiosqlite; aiosqlite alone."""

import asyncio

import pytest

aiosqlite = pytest.importorskip("aiosqlite", reason="needs the package aiosqlite")


@pytest.fixture(params=["aiosqlite", "asyncpg"])
def url(request, tmp_path):
    pytest.importorskip("sqlalchemy", reason="needs the package SQLAlchemy")
    pytest.importorskip("greenlet", reason="needs the package greenlet, as SQLAlchemy[asyncio] brings it")
    pytest.importorskip(request.param, reason=f"needs the package {request.param}")
    if request.param == "aiosqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/base"
    where = request.getfixturevalue("postgres").address
    return "postgresql+asyncpg://{user}@{host}:{port}/{database}".format(**where)


def test_orm(run, url):
    from sqlalchemy import ForeignKey, func, select
    from sqlalchemy.ext.asyncio import AsyncAttrs, async_sessionmaker, create_async_engine
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload

    class Base(AsyncAttrs, DeclarativeBase):
        pass

    class Parent(Base):
        __tablename__ = "parent"
        id: Mapped[int] = mapped_column(primary_key=True)
        children: Mapped[list["Child"]] = relationship()

    class Child(Base):
        __tablename__ = "child"
        id: Mapped[int] = mapped_column(primary_key=True)
        parent_id: Mapped[int] = mapped_column(ForeignKey("parent.id"))
        name: Mapped[str]

    # What a string annotation names has to be found from here.
    Parent.__module__ = Child.__module__ = __name__

    async def main():
        engine = create_async_engine(url)
        try:
            async with engine.begin() as connection:
                await connection.run_sync(Base.metadata.drop_all)
                await connection.run_sync(Base.metadata.create_all)
            make = async_sessionmaker(engine, expire_on_commit=True)
            async with make() as session, session.begin():
                session.add_all(Parent(children=[Child(name=f"{p}.{c}") for c in range(3)]) for p in range(50))
            async with make() as session:
                parents = (await session.scalars(select(Parent).options(selectinload(Parent.children)))).all()
                eager = sum(len(parent.children) for parent in parents)
                await session.commit()
                lazy = len(await parents[0].awaitable_attrs.children)
                streamed = [row.name async for row in await session.stream_scalars(select(Child).order_by(Child.id))]

            async def count():
                async with make() as session:
                    return await session.scalar(select(func.count()).select_from(Child))

            counts = await asyncio.gather(*(count() for _ in range(40)))
            return eager, lazy, len(streamed), set(counts)
        finally:
            await engine.dispose()

    assert run(main()) == (150, 3, 150, {150})


def test_a_cancelled_session_gives_its_connection_back(run, postgres):
    pytest.importorskip("sqlalchemy", reason="needs the package SQLAlchemy")
    pytest.importorskip("asyncpg", reason="needs the package asyncpg")
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    async def main():
        engine = create_async_engine(
            "postgresql+asyncpg://{user}@{host}:{port}/{database}".format(**postgres.address),
            pool_size=2,
            max_overflow=0,
        )
        try:

            async def query(seconds):
                async with engine.connect() as connection:
                    await connection.execute(text(f"select pg_sleep({seconds})"))

            for _ in range(5):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(asyncio.gather(query(300), query(300)), 0.1)
            await asyncio.gather(*(query(0) for _ in range(10)))
            return engine.pool.checkedout()
        finally:
            await engine.dispose()

    assert run(main()) == 0


def test_aiosqlite(run, tmp_path):
    async def main():
        async with aiosqlite.connect(tmp_path / "base") as base:
            await base.execute("create table numbers (n int)")
            await base.executemany("insert into numbers values (?)", [(number,) for number in range(5000)])
            await base.commit()
            async with base.execute("select n from numbers order by n") as cursor:
                rows = [row[0] async for row in cursor]

            async def one(number):
                async with base.execute("select n from numbers where n = ?", (number,)) as cursor:
                    return (await cursor.fetchone())[0]

            return rows, await asyncio.gather(*(one(number) for number in range(200)))

    rows, single = run(main())
    assert rows == list(range(5000))
    assert single == list(range(200))
