import { factList } from '../../ui/fact-list';
import { Facts } from '../../ui/facts';
import { percent } from '../../ui/format-more';
import { Cells, type Marks, Meter } from '../../ui/meter';
import { DISK, type Host, IO, isRead, loadMarks, loadOf, MEMORY } from '../fleet/hosts';

/** Its figures with their thresholds. What was not read says so. */
export function Gauges({ host }: { host: Host }) {
  const { seen, node } = host;
  const runtime = isRead(host) ? seen?.runtime : undefined;
  const gauge = (label: string, value: number | null | undefined, marks: Marks) => (
    <Meter label={label} value={value ?? null} text={percent(value ?? 0)} marks={marks} />
  );
  const load = loadOf(runtime ? seen : null);
  const marks = loadMarks(runtime?.cpuCount);
  const drift = seen?.allocationDrift ?? null;
  return (
    <Facts
      facts={factList([
        ['Slots', <Cells key="slots" taken={node.allocatedCount} all={node.capacity} label="Slots" />],
        [
          runtime?.cpuCount ? `Load on ${runtime.cpuCount} processors` : 'Load of the last minute',
          <Meter
            key="load"
            label="Load"
            value={load.value}
            text={load.text}
            marks={marks}
            max={marks ? marks.critical * 1.25 : 1}
            {...(load.tone ? { tone: load.tone } : {})}
          />,
        ],
        ['Memory used', gauge('Memory', runtime?.memoryUsedPercent, MEMORY)],
        ['Disk used', gauge('Disk', runtime?.diskUsedPercent, DISK)],
        ['Waiting for IO', gauge('IO pressure', runtime?.ioPressurePct, IO)],
        [
          'Containers',
          runtime?.actualContainerCount == null
            ? 'not read'
            : `${runtime.runningContainerCount ?? '?'} of ${runtime.actualContainerCount} run`,
        ],
        [
          'Against the database',
          drift === null
            ? 'not read'
            : drift === 0
              ? 'as expected'
              : `${Math.abs(drift)} too ${drift > 0 ? 'many' : 'few'}`,
        ],
      ])}
    />
  );
}
