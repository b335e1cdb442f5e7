import type { SchemaNodeCheck } from '../../api/openapi.gen';
import { many } from '../../ui/format';

const STATUS = { healthy: 'healthy', degraded: 'degraded', offline: 'offline', unknown: 'unknown' } as const;

/** What one inspection found, in a sentence. */
export function checkSentence({ nodeId, newStatus, previousStatus, checks }: SchemaNodeCheck): string {
  const { ssh, docker, diskUsage, containers } = checks;
  const found = [
    ssh.ok ? `SSH answers${ssh.latencyMs === undefined ? '' : ` in ${ssh.latencyMs} ms`}` : (ssh.error ?? 'SSH fails'),
    ssh.ok ? (docker.ok ? `Docker ${docker.version ?? 'answers'}` : (docker.error ?? 'Docker fails')) : '',
    diskUsage ? `disk ${diskUsage.usedPercent} %` : '',
    containers ? `${containers.running} of ${many(containers.total, 'container')} run` : '',
  ].filter(Boolean);
  const changed = newStatus === previousStatus ? '' : ` (was ${STATUS[previousStatus]})`;
  return `${nodeId} is ${STATUS[newStatus]}${changed}: ${found.join(', ')}.`;
}
