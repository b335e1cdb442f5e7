import { Check, Copy as Sheets } from 'lucide-react';
import { useState } from 'react';
import { IconButton } from './button';

export function Copy({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  const copy = () =>
    navigator.clipboard.writeText(text).then(
      () => {
        setCopied(true);
        setTimeout(() => setCopied(false), 2000);
      },
      () => {},
    );
  return (
    <IconButton small label={copied ? 'Copied' : label} onClick={() => void copy()}>
      {copied ? <Check size={14} aria-hidden="true" /> : <Sheets size={14} aria-hidden="true" />}
    </IconButton>
  );
}
