/** Which nodes of the private network are shown, and what is the case. Pure. */
import type { SchemaNetwork } from '../../api/openapi.gen';
import { many } from '../../ui/format';

type Peer = SchemaNetwork['vpnNodes'][number];

export const SHOWS = [
  { value: 'all', label: 'All' },
  { value: 'online', label: 'Online' },
  { value: 'offline', label: 'Offline' },
] as const;
export type Show = (typeof SHOWS)[number]['value'];
export const showOf = (text: string): Show => SHOWS.find((show) => show.value === text)?.value ?? 'all';

export function matches(peer: Peer, show: Show, text: string): boolean {
  if (show !== 'all' && peer.online !== (show === 'online')) return false;
  const all = [peer.name, peer.givenName, peer.user, ...peer.ipAddresses, ...peer.tags].join(' ').toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}

export function networkSentence({ summary }: SchemaNetwork): string {
  if (summary.total === 0) return 'No node has joined the network.';
  if (summary.offline === 0)
    return `All ${many(summary.total, 'node')} are online.`.replace('All 1 node are', 'The one node is');
  return `${many(summary.offline, 'node is', 'nodes are')} offline, ${summary.online} of ${summary.total} online.`;
}
