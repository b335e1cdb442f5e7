import type { LucideIcon } from 'lucide-react';
import { Bot, Box, Building2, Mail, ReceiptText, ScrollText, Server, Settings, UserRound, Wallet } from 'lucide-react';
import type { ComponentType } from 'react';

export type PageProps = { readonly params: Readonly<Record<string, string | undefined>> };

export type PageEntry = {
  readonly path: string;
  /** Further addresses of the same page, which keeps what it holds when the address changes among them. */
  readonly also?: readonly string[];
  /** Its name in the command palette, and in the rail. */
  readonly title: string;
  readonly who: 'everyone' | 'operators';
  /** Absent: reached from other pages only. */
  readonly rail?: { readonly icon: LucideIcon };
  readonly load: () => Promise<{ readonly default: ComponentType<PageProps> }>;
};

/** Every page there is. A new page is its folder and one line here; the order is the rail's. */
export const pages: readonly PageEntry[] = [
  {
    path: '/agents',
    also: ['/agents/new'],
    title: 'Agents',
    who: 'everyone',
    rail: { icon: Bot },
    load: () => import('./agents/page'),
  },
  { path: '/agents/:id/open', title: 'Open an agent', who: 'everyone', load: () => import('./open/page') },
  {
    path: '/agents/:id',
    also: ['/agents/:id/:tab'],
    title: 'Agent',
    who: 'everyone',
    load: () => import('./agent/page'),
  },
  { path: '/credits', title: 'Credits', who: 'everyone', rail: { icon: Wallet }, load: () => import('./credits/page') },
  {
    path: '/settings',
    title: 'Settings',
    who: 'everyone',
    rail: { icon: Settings },
    load: () => import('./settings/page'),
  },
  {
    path: '/account',
    title: 'Account',
    who: 'everyone',
    rail: { icon: UserRound },
    load: () => import('./account/page'),
  },
  { path: '/fleet', title: 'Fleet', who: 'operators', rail: { icon: Server }, load: () => import('./fleet/page') },
  {
    path: '/containers',
    title: 'Containers',
    who: 'operators',
    rail: { icon: Box },
    load: () => import('./containers/page'),
  },
  {
    path: '/organizations',
    title: 'Organizations',
    who: 'operators',
    rail: { icon: Building2 },
    load: () => import('./organizations/page'),
  },
  {
    path: '/billing/runs',
    title: 'Billing runs',
    who: 'operators',
    rail: { icon: ReceiptText },
    load: () => import('./billing-runs/page'),
  },
  { path: '/mails', title: 'Mails', who: 'operators', rail: { icon: Mail }, load: () => import('./mails/page') },
  {
    path: '/audit',
    title: 'Audit log',
    who: 'operators',
    rail: { icon: ScrollText },
    load: () => import('./audit/page'),
  },
  { path: '/fleet/network', title: 'Private network', who: 'operators', load: () => import('./network/page') },
  { path: '/fleet/audit', title: 'Compare with hosts', who: 'operators', load: () => import('./container-audit/page') },
  { path: '/fleet/nodes/:nodeId', title: 'Host', who: 'operators', load: () => import('./host/page') },
];

/** Where somebody lands who asks for nothing in particular. */
export const HOME = '/agents';
