import { expect, test } from 'vitest';
import { badName, parseEnv } from './environment';

test('a pasted .env file becomes variables', () => {
  expect(parseEnv('# comment\nexport A=1\nB="two words"\n\nC=\'x=y\'\nno variable\nD=')).toEqual([
    { name: 'A', value: '1' },
    { name: 'B', value: 'two words' },
    { name: 'C', value: 'x=y' },
    { name: 'D', value: '' },
  ]);
});
test('names are checked as the API checks them', () => {
  expect(badName({ name: '1A', value: 'x' })).not.toBeNull();
  expect(badName({ name: '_A1', value: '' })).toBeNull();
  expect(badName({ name: '', value: 'x' })).not.toBeNull();
  expect(badName({ name: '', value: '' })).toBeNull();
});
