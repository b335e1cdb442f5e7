import { expect, test } from 'vitest';
import { readPages } from './read-pages';

const row = (id: number) => ({ id: String(id) });
const list = async (cursor: string | undefined) =>
  cursor === undefined
    ? { data: [row(1), row(2)], nextCursor: 'a' }
    : cursor === 'a'
      ? { data: [row(2), row(3)], nextCursor: 'b' }
      : { data: [row(4)] };
const { signal } = new AbortController();

test('pages are read one after the other, and a row that moved between them is there once', async () => {
  const two = await readPages(list, 2, signal);
  expect(two).toEqual({ rows: [row(1), row(2), row(3)], more: true });
  expect(await readPages(list, 9, signal)).toEqual({ rows: [row(1), row(2), row(3), row(4)], more: false });
});
