import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** By name; `hosts` last, because hosts are read once a minute and two readings must agree. */
class ByName extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => (moduleId.endsWith('/hosts.test.ts') ? `~${moduleId}` : moduleId);
    return files.sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
  }
}

/** One stack and one browser at a time: the tests share them, each with organizations of its own. */
export default defineConfig({
  test: {
    include: ['e2e/{quick,long,time-lapse}/*.test.ts', 'e2e/screenshots.ts', 'e2e/vitals.ts'],
    environment: 'node',
    globalSetup: ['e2e/stack.ts'],
    fileParallelism: false,
    sequence: { sequencer: ByName },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    retry: 0,
    reporters: ['verbose'],
  },
});
