/** What one rank computes with. Optional numbers are unknown where they are missing, not zero. */
export interface DeviceProfile {
  readonly name: string;
  /** Highest rate of dense matrix products in the device's usual attention type (see `dtype`), 1e12 operations a second. */
  readonly peakTflops: number;
  /** The type that `peakTflops` is stated for. */
  readonly dtype: "fp32" | "bf16";
  readonly memoryGiB?: number;
  readonly memoryBandwidthGBps?: number;
  /** Where each number above comes from, by field name. */
  readonly sources?: Readonly<Record<string, string>>;
}
